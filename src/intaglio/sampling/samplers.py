"""Samplers: from unit noise to clean latents along a grid of noise levels.

A sampler is a function (noise_at, x, grid, draw, visit) to clean latents [n, ...]. `noise_at(x, level)` predicts the
unit noise in latents [n, ...] at a level of the grid, `grid` falls from the noisiest level to `CLEAN`, and `draw()`
gives fresh unit noise [n, ...]. `visit(x, level)` is called once at each level before its step, and gives the latents
to go on from.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import inf, log
from typing import Protocol, runtime_checkable

from torch import Tensor

from intaglio.sampling.grid import CLEAN, NoiseLevel
from intaglio.sampling.step import ancestral_step, clean_estimate, ddim_step

NoiseAt = Callable[[Tensor, NoiseLevel], Tensor]
Draw = Callable[[], Tensor]
Visit = Callable[[Tensor, NoiseLevel], Tensor]


@runtime_checkable
class Sampler(Protocol):
    """A walk from unit noise to clean latents."""

    def __call__(
        self, noise_at: NoiseAt, x: Tensor, grid: Sequence[NoiseLevel], draw: Draw, visit: Visit = ...
    ) -> Tensor: ...


def unmoved(x: Tensor, level: NoiseLevel) -> Tensor:
    """The latents as they are: the visit of a walk that nothing shifts."""
    return x


def ddim(noise_at: NoiseAt, x: Tensor, grid: Sequence[NoiseLevel], draw: Draw, visit: Visit = unmoved) -> Tensor:
    """DDIM (arXiv 2010.02502, eta 0), which is Euler's method in noise over signal (arXiv 2206.00364)."""
    for now, then in pairwise(grid):
        x = visit(x, now)
        x = ddim_step(x, noise_at(x, now), now, then)
    return x


def heun(noise_at: NoiseAt, x: Tensor, grid: Sequence[NoiseLevel], draw: Draw, visit: Visit = unmoved) -> Tensor:
    """Heun's second-order method (arXiv 2206.00364, algorithm 1); two predictions a step.

    Its variable is the noise over the signal, and on a straight path, which may begin without signal, the noise level.
    """
    for now, then in pairwise(grid):
        x = visit(x, now)
        eps = noise_at(x, now)
        if now.straight:
            x = _heun_step(x, eps, now, then, noise_at)
            continue
        if then is not CLEAN:
            eps = (eps + noise_at(ddim_step(x, eps, now, then), then)) / 2
        x = then.signal * (x / now.signal + (then.ratio - now.ratio) * eps)
    return x


def _heun_step(x: Tensor, eps: Tensor, now: NoiseLevel, then: NoiseLevel, noise_at: NoiseAt) -> Tensor:
    """One step of Heun's method along a straight path, by the mean of the velocities at both ends."""
    trial = ddim_step(x, eps, now, then)
    if then is CLEAN:
        return trial
    again = noise_at(trial, then)
    clean = (clean_estimate(x, eps, now) + clean_estimate(trial, again, then)) / 2
    return x + (then.signal - now.signal) * clean + (then.noise - now.noise) * (eps + again) / 2


def ancestral(noise_at: NoiseAt, x: Tensor, grid: Sequence[NoiseLevel], draw: Draw, visit: Visit = unmoved) -> Tensor:
    """DDPM with the posterior's variance (arXiv 2006.11239), on any grid; DDIM with eta 1, Euler ancestral."""
    for now, then in pairwise(grid):
        x = visit(x, now)
        eps = noise_at(x, now)
        if then is CLEAN:
            return clean_estimate(x, eps, now)
        x = ancestral_step(x, eps, now, then, draw())
    return x


def dpmpp_2m(noise_at: NoiseAt, x: Tensor, grid: Sequence[NoiseLevel], draw: Draw, visit: Visit = unmoved) -> Tensor:
    """DPM-Solver++ 2M (arXiv 2211.01095, algorithm 2), first order at the start and at the clean end."""
    before, last_step = None, 0.0
    for now, then in pairwise(grid):
        x = visit(x, now)
        x_clean = clean_estimate(x, noise_at(x, now), now)
        if then is CLEAN:
            return x_clean
        step = log(now.ratio) - log(then.ratio)
        mixed = x_clean if before is None else x_clean + step / (2 * last_step) * (x_clean - before)
        x = then.noise / now.noise * x + then.signal * (1 - then.ratio / now.ratio) * mixed
        before, last_step = x_clean, step if now.has_signal else inf
    return x


SAMPLERS: Mapping[str, Sampler] = {
    "ddim": ddim,
    "euler": ddim,
    "heun": heun,
    "dpm++2m": dpmpp_2m,
    "ddpm": ancestral,
    "euler_a": ancestral,
}
"""By the names of `SamplerName`. On one grid "euler" is the same formula as "ddim", "euler_a" the same as "ddpm"."""
