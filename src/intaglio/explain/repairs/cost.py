"""The time of a repair, before it begins."""

import torch

from intaglio.explain.repairs.family import ShortcutRepair
from intaglio.models.scored_network import ScoredClassifier
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

ROWS = 16
"""Pictures of the call that is timed."""
AROUND = 3
"""Passes a picture to split and to judge."""


def repair_plan(method: ShortcutRepair, scored: ScoredClassifier, pictures: int) -> TimePlan:
    """Seconds of all passes, by one call of the network that is timed; it is left as it was found."""
    rows = min(ROWS, method.batch)
    passes = method.passes(scored, (pictures + 1) // 2) + AROUND * pictures
    white = torch.ones(rows, 3, scored.side, scored.side)

    @torch.no_grad()
    def call() -> None:
        scored.logits(white)

    seconds = seconds_of(call, scored.device) / rows * passes
    return TimePlan({"passes": seconds}, f"pictures   {pictures}; {passes:,} passes through the network, at most")
