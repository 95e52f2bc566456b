"""Semi-discrete optimal transport: heights of points, so that a source sends the same mass to each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps, stored_steps
from intaglio.sampling.starts.transport import Source, cells_of, source_points

STATE = "heights"
BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Of Adam."""
PATIENCE, FALL, DOUBLINGS = 50, 0.8, 3
"""Rounds without a smaller gradient after which the rate falls by this factor and the samples double, so often."""


@dataclass(frozen=True)
class HeightFit:
    """Settings of the fit."""

    rounds: int
    """Updates at most."""
    samples: int
    """Points of the source in the first rounds."""
    rate: float
    """Rate of Adam at first, in units of the inner product."""
    tolerance: float
    """Norm of the gradient at which the fit ends, where every point also received a sample."""
    source: Source
    seed: int


@dataclass(frozen=True, eq=False)
class _Heights(StepState):
    """Heights with Adam's moments, and what its rate and the samples depend on."""

    heights: Float[Tensor, "m"]
    first: Float[Tensor, "m"]
    second: Float[Tensor, "m"]
    rate: Float[Tensor, ""]
    samples: Int[Tensor, ""]
    norm: Float[Tensor, ""]
    """Of the last gradient."""
    least: Float[Tensor, ""]
    """The smallest norm so far."""
    stale: Int[Tensor, ""]
    """Rounds since then."""
    updates: Int[Tensor, ""]
    """Updates made; fewer than the rounds where the fit ended early."""


def fit_heights(points: Float[Tensor, "m d"], fit: HeightFit, run: Run) -> tuple[Float[Tensor, "m"], dict[str, Any]]:
    """The heights h, centred, and figures of the fit.

    The cell of point y_i is where ⟨x, y_i⟩ + h_i is largest. Its share of the source less 1/m is the gradient in h_i of
    the convex function E max_i(⟨x, y_i⟩ + h_i) - mean(h), whose minimum is the transport of least squared distance.
    The shares are those of samples, so that the norm of an exact solution's gradient is about 1 / sqrt(samples).
    """
    m = len(points)

    def update(state: _Heights) -> _Heights:
        share = shares(points, state.heights, fit.source, int(state.samples), fit.seed, state.step)
        gradient = share - 1 / m
        norm = gradient.norm()
        if bool(norm <= fit.tolerance) and bool((share > 0).all()):
            return replace(state, step=fit.rounds, norm=norm)
        first = BETAS[0] * state.first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * state.second + (1 - BETAS[1]) * gradient.square()
        count = state.step + 1
        move = first / (1 - BETAS[0] ** count) / ((second / (1 - BETAS[1] ** count)).sqrt() + EPSILON)
        heights = state.heights - state.rate * move
        state = replace(state, step=count, heights=heights - heights.mean(), first=first, second=second, norm=norm)
        return _paced(replace(state, updates=state.updates + 1), fit)

    start = _begun(m, fit)
    match: Mapping[str, Any] = {"points": m, "rounds": fit.rounds}
    with run.progress(fit.rounds, "transport", stored_steps(run, STATE, match)) as progress:
        last = in_steps(
            run,
            STATE,
            match,
            start,
            update,
            steps=fit.rounds,
            noted=lambda before, after: progress.advance(after.step - before.step, norm=float(after.norm)),
        )
    return last.heights, {"rounds": int(last.updates), "norm": float(last.norm), "samples": int(last.samples)}


def _begun(m: int, fit: HeightFit) -> _Heights:
    """The state before the first round: all heights 0."""
    zeros, none = torch.zeros(m, dtype=torch.float64), torch.tensor(0)
    unknown = torch.tensor(torch.inf, dtype=torch.float64)
    return _Heights(
        step=0,
        heights=zeros,
        first=zeros,
        second=zeros,
        rate=torch.tensor(fit.rate, dtype=torch.float64),
        samples=torch.tensor(fit.samples),
        norm=unknown,
        least=unknown,
        stale=none,
        updates=none,
    )


def shares(
    points: Float[Tensor, "m d"], heights: Float[Tensor, "m"], source: Source, samples: int, seed: int, draw: int | str
) -> Float[Tensor, "m"]:
    """The share of samples of the source in the cell of each point, float64."""
    noise = torch.randn(samples, points.shape[1], generator=generator(seed, "source", draw))
    x = source_points(noise, source).to(points.device)
    cells = cells_of(x, points, heights.to(points))
    return torch.bincount(cells.cpu(), minlength=len(points)).double() / samples


def most_points(rounds: int, samples: int) -> int:
    """Points of the source in all rounds, where the samples double as soon as they can."""
    found = 0
    for doublings in range(DOUBLINGS):
        found += min(rounds, PATIENCE) * samples * 2**doublings
        rounds -= min(rounds, PATIENCE)
    return found + rounds * samples * 2**DOUBLINGS


def _paced(state: _Heights, fit: HeightFit) -> _Heights:
    """The state with its rate lowered, and its samples doubled, where the gradient has not shrunk for long."""
    if bool(state.norm < state.least):
        return replace(state, least=state.norm, stale=torch.tensor(0))
    stale = state.stale + 1
    if int(stale) < PATIENCE:
        return replace(state, stale=stale)
    most = fit.samples * 2**DOUBLINGS
    return replace(state, stale=torch.tensor(0), rate=FALL * state.rate, samples=(2 * state.samples).clamp(max=most))
