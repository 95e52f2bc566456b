"""The time of explanations, before they begin."""

from collections.abc import Sequence

import torch

from intaglio.explain.faithfulness import PASSES
from intaglio.explain.family import Attributor
from intaglio.explain.pointing_grids import POINTED, SIDES
from intaglio.explain.trials import AttributionTrials
from intaglio.models.scored_network import ScoredNetwork
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

ROWS = 16
"""Pictures of the call that is timed."""


def explain_plan(method: Attributor, scored: ScoredNetwork, pictures: int) -> TimePlan:
    """Seconds of all pictures, by one call of the network that is timed; it is left as it was found."""
    passes = method.passes(scored.side)
    seconds = pass_seconds(scored, scored.side) * pictures
    head = f"pictures   {pictures}; some {passes:,} passes for the map of each, and {PASSES} for its test"
    return TimePlan({"maps": seconds * passes, "tests": seconds * PASSES}, head)


def evaluation_plan(methods: Sequence[Attributor], trials: AttributionTrials) -> TimePlan:
    """Seconds of an evaluation of these methods, by calls of the network that are timed."""
    side, pictures = trials.scored.side, len(trials.images) + min(trials.sane, len(trials.images))
    one, whole = pass_seconds(trials.scored, side), pass_seconds(trials.scored, SIDES * side)
    maps = sum(method.passes(side) for method in methods) * pictures
    grids = sum(method.passes(SIDES * side) for method in methods) * len(POINTED)
    counts = f"{len(methods)} rows, {len(trials.images)} pictures, {len(trials.grids)} grids"
    return TimePlan(
        {
            "maps": one * maps,
            "tests": one * PASSES * len(trials.images) * len(methods),
            "grids": whole * grids * (len(trials.grids) + len(trials.repeated)),
        },
        f"evaluation {counts}",
    )


def pass_seconds(scored: ScoredNetwork, side: int) -> float:
    """Seconds of a picture of this side through the network, by one call of a batch; it is left as it was found."""
    white = torch.ones(ROWS, 3, side, side)

    @torch.no_grad()
    def call() -> None:
        scored.logits(white)

    return seconds_of(call, scored.device) / ROWS
