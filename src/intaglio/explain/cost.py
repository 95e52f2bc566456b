"""The time of explanations, before they begin."""

import torch

from intaglio.explain.faithfulness import PASSES
from intaglio.explain.family import Attributor
from intaglio.models.scored_network import ScoredNetwork
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

ROWS = 16
"""Pictures of the call that is timed."""


def explain_plan(method: Attributor, scored: ScoredNetwork, pictures: int) -> TimePlan:
    """Seconds of all pictures, by one call of the network that is timed; it is left as it was found."""
    rows, passes = min(ROWS, method.batch), method.passes(scored.side)
    white = torch.ones(rows, 3, scored.side, scored.side)

    @torch.no_grad()
    def call() -> None:
        scored.logits(white)

    seconds = seconds_of(call, scored.device) / rows * pictures
    head = f"pictures   {pictures}; some {passes:,} passes for the map of each, and {PASSES} for its test"
    return TimePlan({"maps": seconds * passes, "tests": seconds * PASSES}, head)
