"""The time of a search for paths, before it begins."""

import torch

from intaglio.explain.paths.family import PathFinder
from intaglio.models.scored_network import ScoredNetwork
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

ROWS = 16
"""Pictures of the call that is timed."""
AROUND = 8
"""Passes a picture for means, for screening and for what the graph alone says."""


def paths_plan(method: PathFinder, scored: ScoredNetwork, pictures: int) -> TimePlan:
    """Seconds of all passes, by one call of the network that is timed; it is left as it was found."""
    rows = min(ROWS, method.batch)
    passes = method.passes((pictures + 1) // 2, method.depth + 1) + AROUND * pictures
    white = torch.ones(rows, 3, scored.side, scored.side)

    @torch.no_grad()
    def call() -> None:
        scored.logits(white)

    seconds = seconds_of(call, scored.device) / rows * passes
    return TimePlan({"passes": seconds}, f"pictures   {pictures}; {passes:,} passes through the network, at most")
