"""The time of a search for concepts, before it begins."""

import torch

from intaglio.explain.concepts.family import ConceptFinder
from intaglio.models.scored_network import ScoredNetwork
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

ROWS = 16
"""Pictures of the call that is timed."""
CROPS = 16
"""Crops of a picture, at most, where all of it is ink."""


def concepts_plan(method: ConceptFinder, scored: ScoredNetwork, pictures: int) -> TimePlan:
    """Seconds of all passes, by one call of the network that is timed; it is left as it was found.

    Raises `BadInput` for a layer that there is not.
    """
    method.layers_of(scored)
    rows = min(ROWS, method.batch)
    readings = 1 if method.division is None else 2
    passes = pictures * (readings * CROPS + 1 + method.points * (method.count + 1))
    white = torch.ones(rows, 3, scored.side, scored.side)

    @torch.no_grad()
    def call() -> None:
        scored.logits(white)

    seconds = seconds_of(call, scored.device) / rows * passes
    return TimePlan({"passes": seconds}, f"pictures   {pictures}; {passes:,} passes through the network, at most")
