"""The inner loop of CGI-DM: the missing half of each latent climbs the contrast of two models, inside a ball.

A step is a pure function of the state before it, so a state that was stored is a place to go on from exactly.
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


class Stopped(IntEnum):
    """Why a picture takes no further steps."""

    NO = 0
    PLATEAU = 1
    NOT_FINITE = 2


@dataclass(frozen=True, eq=False)
class Refinement:
    """How a step is taken. `step_rms` and `radius_rms` are per free latent entry, so sizes and masks behave alike."""

    steps: int
    samples: int
    step_rms: float
    radius_rms: float
    timesteps: tuple[int, int]
    shared_noise: bool
    gradient_mode: GradientMode
    patience: int
    seed: int


@dataclass(frozen=True, eq=False)
class State:
    """Where the refinement of a group of pictures stands; all tensors are on the CPU."""

    step: int
    """Steps done, of the whole group."""
    change: Float[Tensor, "n c h w"]
    """d, what was added to the start; zero on kept cells."""
    gaps: Float[Tensor, "n steps"]
    """The estimate of the gap that each step saw; NaN where a step was not taken."""
    norms: Float[Tensor, "n steps"]
    """L2 norm of the gradient over the free cells; NaN where a step was not taken."""
    taken: Int[Tensor, "n"]
    skipped: Int[Tensor, "n"]
    """Steps that moved nothing, since the gradient was zero or not finite."""
    stopped: Int[Tensor, "n"]
    """`Stopped`"""

    @classmethod
    def start(cls, shape: Sequence[int], steps: int) -> "State":
        """No change yet to `shape` [n, c, h, w] latents."""
        count = shape[0]
        unseen = torch.full((count, steps), torch.nan)
        none = torch.zeros(count, dtype=torch.long)
        return cls(0, torch.zeros(*shape), unseen, unseen.clone(), none, none.clone(), none.clone())

    def tensors(self) -> dict[str, Tensor]:
        """Everything but the step, for `Run.save_state`."""
        return {name: getattr(self, name) for name in ("change", "gaps", "norms", "taken", "skipped", "stopped")}

    @classmethod
    def of(cls, step: int, tensors: Mapping[str, Tensor]) -> "State":
        """The inverse of `tensors`."""
        return cls(step=step, **tensors)


@dataclass(frozen=True, eq=False)
class PictureGroup:
    """Pictures that are refined together: what is known of them and where they start."""

    hashes: tuple[str, ...]
    known: Float[Tensor, "n c h w"]
    """z0, the latents of the pictures."""
    start: Float[Tensor, "n c h w"]
    """u0, the latents of the masked pictures."""
    keep: Float[Tensor, "1 1 h w"]
    """M, 1 where the latent is known."""

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
    """One step of every picture that is still going: gradient, normalise, move, project, note.

    A picture whose gap is not finite stops for good; one whose gradient is zero or not finite stays where it is for
    this step, and that is counted. Neither touches another picture.
    """
    going = (state.stopped == Stopped.NO).nonzero().flatten()
    if not len(going):
        return replace(state, step=how.steps)
    gap, gradient = _ascent(state, group, contrast, how, going)
    gradient = gradient * (1 - group.keep)
    free = int((1 - group.keep).sum()) * gradient.shape[1]
    norm = gradient.double().flatten(1).norm(dim=1)
    broken = ~gap.isfinite()
    usable = norm.isfinite() & (norm > 0) & ~broken
    direction = torch.where(usable[:, None, None, None], gradient.double() / norm[:, None, None, None], 0.0)
    moved = state.change[going] + (how.step_rms * free**0.5 * direction).float()
    change, gaps, norms = state.change.clone(), state.gaps.clone(), state.norms.clone()
    change[going] = torch.where(
        usable[:, None, None, None], project(moved, how.radius_rms * free**0.5), state.change[going]
    )
    gaps[going, state.step], norms[going, state.step] = gap, norm.float()
    taken, skipped, stopped = state.taken.clone(), state.skipped.clone(), state.stopped.clone()
    taken[going] += 1
    skipped[going] += (~usable & ~broken).long()
    stopped[going[broken]] = int(Stopped.NOT_FINITE)
    flat = _plateaued(gaps, state.step + 1, how.patience) & (stopped == Stopped.NO)
    stopped[flat] = int(Stopped.PLATEAU)
    return State(state.step + 1, change, gaps, norms, taken, skipped, stopped)


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


def _plateaued(gaps: Float[Tensor, "n steps"], done: int, window: int) -> Tensor:
    """Whether the mean gap of the last `window` steps is no higher than that of the `window` before."""
    if not window or done < 2 * window:
        return torch.zeros(len(gaps), dtype=torch.bool)
    return gaps[:, done - window : done].mean(1) <= gaps[:, done - 2 * window : done - window].mean(1)
