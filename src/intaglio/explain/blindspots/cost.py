"""The time of a search for blind spots, before it begins."""

from dataclasses import replace

import torch

from intaglio.explain.blindspots.family import BlindSpotFinder
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.scored_network import ScoredNetwork
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import picture_calls, planned_seconds

ROWS = 16
"""Pictures of the call that is timed."""
DRAWN = 8
"""Pictures that are drawn at once."""


def blindspots_plan(
    method: BlindSpotFinder,
    scored: ScoredNetwork,
    pairs: int,
    *,
    model: LatentDiffusion | None = None,
    draws: bool = True,
    steps: int | None = None,
    scale: float | None = None,
) -> TimePlan:
    """Seconds of the pictures and of all passes, by calls of the networks that are timed.

    `draws` says whether the model draws the generated pictures, or only gives the control. The training of a dictionary
    is not counted: it takes seconds to a minute.
    """
    rows = min(ROWS, method.batch)
    white = torch.ones(rows, 3, scored.side, scored.side)

    @torch.no_grad()
    def call() -> None:
        scored.logits(white)

    passes = pairs * (4 if model is None else 5)
    parts = {"passes": seconds_of(call, scored.device) / rows * passes}
    head = f"pairs      {pairs}; {passes:,} passes through the network"
    if model is not None:
        each = picture_calls(model, steps, scale)
        calls = replace(each.times(pairs if draws else 0), decodes=0)
        parts["drawings"] = planned_seconds(calls, model, DRAWN) if draws else 0.0
        parts["decodings"] = planned_seconds(Calls(decodes=pairs * (3 if draws else 2)), model, DRAWN)
        head += f"; {calls}" if draws else ""
    return TimePlan(parts, head)
