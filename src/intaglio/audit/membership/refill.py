"""The inner loop of CGI-DM: gradient ascent of the loss difference on the masked half of each latent, in an L2 ball.

A step is a pure function of the state before it, so a stored state is continued to the same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.denoising.contrast import Contrast
from intaglio.denoising.samples import standard_normal, stratified_timesteps
from intaglio.randomness import generator

GradientMode = Literal["exact", "forward-only"]
STORED_NAMES = {
    "change": "change",
    "gaps": "loss_differences",
    "norms": "norms",
    "taken": "taken",
    "skipped": "skipped",
    "stopped": "stopped",
}
"""Tensors of a `State`, by their names in the files of runs."""


class Stopped(IntEnum):
    """Reason why a picture takes no further steps."""

    NO = 0
    PLATEAU = 1
    NOT_FINITE = 2


@dataclass(frozen=True, eq=False)
class Refinement:
    """Settings of the steps."""

    steps: int
    """Most steps of a picture."""
    samples: int
    """Noises and timesteps drawn a step."""
    step_rms: float
    """Length of a step, as a root mean square over the free latent entries: independent of size and mask."""
    radius_rms: float
    """Radius of the ball around the start, in the same measure."""
    timesteps: tuple[int, int]
    """First and last timestep drawn from."""
    shared_noise: bool
    """Whether both models are given the same noise."""
    gradient_mode: GradientMode
    patience: int
    """Steps of a plateau that stops a picture; 0 never stops one."""
    seed: int


@dataclass(frozen=True, eq=False)
class State:
    """State of the refinement of a group of pictures; all tensors are on the CPU."""

    step: int
    """Steps that the group has done."""
    change: Float[Tensor, "n c h w"]
    """d, the change added to the start; zero on kept cells."""
    loss_differences: Float[Tensor, "n steps"]
    """Estimate of the loss difference at each step; NaN where a step was not taken."""
    norms: Float[Tensor, "n steps"]
    """L2 norm of the gradient over the free cells; NaN where a step was not taken."""
    taken: Int[Tensor, "n"]
    """Steps taken."""
    skipped: Int[Tensor, "n"]
    """Steps without a change, since the gradient was zero or not finite."""
    stopped: Int[Tensor, "n"]
    """Values of `Stopped`."""

    @classmethod
    def start(cls, shape: Sequence[int], steps: int) -> "State":
        """The state before any step, for latents of `shape` [n, c, h, w]."""
        count = shape[0]
        unseen = torch.full((count, steps), torch.nan)
        none = torch.zeros(count, dtype=torch.long)
        return cls(0, torch.zeros(*shape), unseen, unseen.clone(), none, none.clone(), none.clone())

    def tensors(self) -> dict[str, Tensor]:
        """Everything but the step, by the names under which a run stores it."""
        return {stored: getattr(self, name) for stored, name in STORED_NAMES.items()}

    @classmethod
    def of(cls, step: int, tensors: Mapping[str, Tensor]) -> "State":
        """The inverse of `tensors`."""
        return cls(step=step, **{name: tensors[stored] for stored, name in STORED_NAMES.items()})


@dataclass(frozen=True, eq=False)
class PictureGroup:
    """Pictures that are refined together: their latents, the start and the mask."""

    hashes: tuple[str, ...]
    known: Float[Tensor, "n c h w"]
    """z0, the latents of the pictures."""
    start: Float[Tensor, "n c h w"]
    """u0, the latents of the masked pictures."""
    keep: Float[Tensor, "1 1 h w"]
    """M, 1 where the latent is kept."""

    def latents(self, change: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """z(d): the true latent where it is kept, the start plus the change elsewhere."""
        return self.keep * self.known + (1 - self.keep) * (self.start + change)


def checkerboard(height: int, width: int, square: int) -> Float[Tensor, "1 1 h w"]:
    """The keep-mask over latent cells: squares of `square` cells a side, kept where row plus column is even.

    Raises `ValueError` for sides that are no multiple of two squares: the halves would not be equal.
    """
    if square < 1 or height % (2 * square) or width % (2 * square):
        raise ValueError(f"{height}x{width} latents do not divide into pairs of squares of {square}")
    rows, columns = torch.arange(height) // square, torch.arange(width) // square
    return ((rows[:, None] + columns[None]) % 2 == 0).float()[None, None]


def project(change: Float[Tensor, "n c h w"], radius: float) -> Float[Tensor, "n c h w"]:
    """Each picture's change, scaled back onto the ball of that L2 radius where it lies outside."""
    norms = change.double().flatten(1).norm(dim=1).clamp_min(1e-12)
    return (change * (radius / norms).clamp(max=1)[:, None, None, None]).float()


def advance(state: State, group: PictureGroup, contrast: Contrast, how: Refinement) -> State:
    """The state after one step of every picture that has not stopped: gradient, normalisation, move, projection.

    A picture whose loss difference is not finite stops for good; one whose gradient is zero or not finite skips this
    step, which is counted. Neither affects another picture.
    """
    going = (state.stopped == Stopped.NO).nonzero().flatten()
    if not len(going):
        return replace(state, step=how.steps)
    difference, gradient = _ascent(state, group, contrast, how, going)
    gradient = gradient * (1 - group.keep)
    free = int((1 - group.keep).sum()) * gradient.shape[1]
    norm = gradient.double().flatten(1).norm(dim=1)
    broken = ~difference.isfinite()
    usable = norm.isfinite() & (norm > 0) & ~broken
    direction = torch.where(usable[:, None, None, None], gradient.double() / norm[:, None, None, None], 0.0)
    moved = state.change[going] + (how.step_rms * free**0.5 * direction).float()
    change, differences, norms = state.change.clone(), state.loss_differences.clone(), state.norms.clone()
    change[going] = torch.where(
        usable[:, None, None, None], project(moved, how.radius_rms * free**0.5), state.change[going]
    )
    differences[going, state.step], norms[going, state.step] = difference, norm.float()
    taken, skipped, stopped = state.taken.clone(), state.skipped.clone(), state.stopped.clone()
    taken[going] += 1
    skipped[going] += (~usable & ~broken).long()
    stopped[going[broken]] = int(Stopped.NOT_FINITE)
    flat = _plateaued(differences, state.step + 1, how.patience) & (stopped == Stopped.NO)
    stopped[flat] = int(Stopped.PLATEAU)
    return State(state.step + 1, change, differences, norms, taken, skipped, stopped)


def _ascent(
    state: State, group: PictureGroup, contrast: Contrast, how: Refinement, going: Int[Tensor, "m"]
) -> tuple[Float[Tensor, "m"], Float[Tensor, "m c h w"]]:
    shape = tuple(state.change.shape[1:])
    times, first, second = [], [], []
    for i in going.tolist():
        source = generator(how.seed, group.hashes[i], "step", state.step)
        times.append(stratified_timesteps(how.samples, how.timesteps, source))
        first.append(standard_normal(how.samples, shape, source))
        if not how.shared_noise:
            second.append(standard_normal(how.samples, shape, source))
    t, noise = torch.stack(times), torch.stack(first)
    latents = group.latents(state.change)[going]
    if how.gradient_mode == "forward-only":
        return contrast.forward_ascent(latents, noise, t)
    return contrast.ascent(latents, (noise, noise if how.shared_noise else torch.stack(second)), t)


def _plateaued(differences: Float[Tensor, "n steps"], done: int, window: int) -> Tensor:
    """Whether the mean loss difference of the last `window` steps is no higher than that of the `window` before."""
    if not window or done < 2 * window:
        return torch.zeros(len(differences), dtype=torch.bool)
    return differences[:, done - window : done].mean(1) <= differences[:, done - 2 * window : done - window].mean(1)
