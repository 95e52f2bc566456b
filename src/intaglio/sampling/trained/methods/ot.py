"""DPM-OT: a start at an earlier timestep, by optimal transport from noise to the model's own states there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.runs.timed import seconds_of
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import CLEAN_AT, level_at, timestep_grid
from intaglio.sampling.starts.transport import Source
from intaglio.sampling.trained.family import SamplingTrainer
from intaglio.sampling.trained.own_latents import STATE as DRAWN
from intaglio.sampling.trained.own_latents import own_latents
from intaglio.sampling.trained.semi_discrete import STATE as FITTED
from intaglio.sampling.trained.semi_discrete import HeightFit, fit_heights, most_points, shares
from intaglio.sampling.trained_part import TrainedPart

JUDGED = 50
"""Samples of the source for each state, by which the finished heights are judged."""


@dataclass(frozen=True, kw_only=True)
class OptimalTransport(SamplingTrainer):
    """DPM-OT: a start by optimal transport from noise to states of the model's own trajectories.

    N states y_1..y_N are drawn by DDIM from the last timestep, of the prompts in turn. Heights h are fitted, so that a
    point x of the source falls as often into each cell {x: ⟨x, y_i⟩ + h_i is largest}; that is the transport of least
    squared distance from the source to the states. `--start ot` sends a noise to the state of its cell, raises that
    with fresh noise to `from_step`, and the sampling begins there, without the steps before. With the source `normal`
    a picture's own noise is the point.

    The heights h follow the shares of the cells less 1/N by Adam (arXiv 1412.6980). After 50 rounds without a smaller
    gradient the rate falls to 0.8 of it and the samples double, three times at most; it ends after `rounds`, or at the
    norm `tolerance` with no cell empty.

    With little fresh noise the pictures are near those that were drawn for the training: with `fresh 0`, as published,
    there are no more than N starts. What is memorised can be measured by `intaglio extract`. All prompts share the
    states: a state of another prompt must be led away by guidance, so that the timestep must not be early, and it is
    best to train for the prompts that are drawn.

    Source: arXiv 2307.11308, which draws the state itself; the fresh noise is our own.
    """

    states_kept: ClassVar[tuple[str, ...]] = (DRAWN, FITTED)

    states: int = 2000
    """States N, 2 or more; published with tens of thousands."""
    from_step: int = 700
    """Timestep that samplings shall begin at, 1 to the schedule's last, usually 999."""
    fresh: float = 0.5
    """Share of the noise at that timestep, by its variance over the signal's, that is fresh in each picture; 0 to 1."""
    rounds: int = 1000
    """Updates of the heights at most, 1 or more."""
    samples: int = 1000
    """Points of the source in each of the first rounds, 1 or more."""
    rate: float = 0.1
    """Rate of Adam at first, above 0."""
    tolerance: float = 8e-4
    """Norm of the gradient at which the heights are good, above 0; samples alone leave 1 / sqrt(their number)."""
    source: Source = "normal"
    """Law of the points: normal, or uniform in [0, 1], of each number."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("states", 2), ("from_step", 1), ("rounds", 1), ("samples", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, not {getattr(self, name)}")
        for name in ("rate", "tolerance"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be above 0, and finite, not {getattr(self, name)}")
        if not 0 <= self.fresh <= 1:
            raise ValueError(f"fresh must be 0 to 1, not {self.fresh}")
        if self.source not in ("normal", "uniform"):
            raise ValueError(f"source must be normal or uniform, not {self.source!r}")

    def check(self, model: LatentDiffusion, prompts: Sequence[str]) -> None:
        """Raises `BadInput` for a timestep that is not in the schedule, and for more steps than lead to the states."""
        super().check(model, prompts)
        timestep_grid(model.schedule, 1, self.from_step)
        t = state_timestep(model.schedule, self.from_step, self.fresh)
        if self.steps > (left := model.schedule.count - 1 - t):
            raise BadInput(f"{left} timesteps lead to the states at {t}, not {self.steps}; give fewer --steps")

    def planned(self, model: LatentDiffusion, prompts: Sequence[str]) -> Calls:
        """The steps of every state."""
        return Calls(forward=self.states * self.steps * self.branches)

    def seconds_beside(self, model: LatentDiffusion) -> dict[str, float]:
        """Seconds of the heights, and of the shares by which they are judged; `most_points` says of how many points."""
        side = model.resolution // model.factor
        numbers = model.latent_channels * side**2
        points = torch.randn(self.states, numbers, generator=generator(self.seed, "plan")).to(model.device)
        heights = torch.zeros(self.states, dtype=torch.float64)
        drawn = partial(shares, points, heights, self.source, self.samples, self.seed, "plan")
        one = seconds_of(drawn, model.device) / self.samples
        return {"heights": one * most_points(self.rounds, self.samples), "judged heights": one * JUDGED * self.states}

    def __call__(self, model: LatentDiffusion, prompts: Sequence[str], *, run: Run = Run.none()) -> TrainedPart:
        """States and heights."""
        self.check(model, prompts)
        t = state_timestep(model.schedule, self.from_step, self.fresh)
        drawing = {"steps": self.steps, "scale": self.scale, "batch": self.batch, "seed": self.seed}
        states = own_latents(model, prompts, self.states, **drawing, run=run, until=t)
        points = states.flatten(1).to(model.device)
        fit = HeightFit(self.rounds, self.samples, self.rate, self.tolerance, self.source, self.seed)
        heights, figures = fit_heights(points, fit, run)
        share = shares(points, heights, self.source, JUDGED * self.states, self.seed, "judge")
        # Samples alone leave a variation of about sqrt(2 / (π · JUDGED)) / 2 where all shares are equal.
        figures |= {"variation": float((share - 1 / self.states).abs().sum() / 2), "empty": int((share == 0).sum())}
        facts = {"from_step": self.from_step, "states_at": t, **figures}
        return self.part(model, prompts, {"states": states, "heights": heights}, facts)


def state_timestep(schedule: NoiseSchedule, first: int, fresh: float) -> int:
    """The timestep whose noise over signal, squared, is nearest to 1 - fresh of that at `first`; -1 for clean."""
    if fresh == 1:
        return CLEAN_AT
    wanted = (1 - fresh) * level_at(schedule, first).ratio ** 2
    return min(range(-1, first + 1), key=lambda t: abs(level_at(schedule, t).ratio ** 2 - wanted))
