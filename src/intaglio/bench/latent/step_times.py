"""Seconds of a step of ABIC and of the beginning of a round, beside those of the plain formulation."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor

from intaglio.bench.latent.plain_abic import plain_gradients, pseudo_variables
from intaglio.causal.confounding.gram_loss import error_precision, least_squares_gradients
from intaglio.causal.confounding.penalties import violation_gradients
from intaglio.randomness import generator

WEIGHT = 10.0
"""α of the measured steps."""


def measured_at(d: int, n: int, restarts: int, repeats: int, seed: int) -> dict[str, float]:
    """Seconds of a step and of a round's beginning, both ways, their ratios, and the difference of the gradients."""
    rows, *point = values(d, n, seed)
    arrows, doubles, before, variances = point
    covariance, errors = rows.T @ rows / n, doubles + torch.diag(variances)
    many_arrows, many_doubles, many_before, many_variances = (part.expand(restarts, *part.shape) for part in point)
    precision, pseudo = error_precision(many_doubles, many_variances), pseudo_variables(rows, before, errors)

    def step() -> tuple[Tensor, Tensor]:
        fit = least_squares_gradients(covariance, many_arrows, many_doubles, many_before, precision)
        h = violation_gradients(many_arrows, many_doubles, "ancestral")
        return fit[1] + WEIGHT * h[1], fit[2] + WEIGHT * h[2]

    calls: dict[str, Callable[[], Any]] = {
        "step": step,
        "plain_step": lambda: plain_gradients(rows, pseudo, arrows, doubles, WEIGHT),
        "round": lambda: error_precision(many_doubles, many_variances),
        "plain_round": lambda: pseudo_variables(rows, before, errors),
    }
    seconds = timed(calls, repeats)
    found = {f"{name}_seconds": value / (1 if "plain" in name else restarts) for name, value in seconds.items()}
    for part in ("step", "round"):
        found[f"{part}_ratio"] = found[f"plain_{part}_seconds"] / found[f"{part}_seconds"]
    plain = plain_gradients(rows, pseudo, arrows, doubles, WEIGHT)[1:]
    pairs = zip((part[0] for part in step()), plain, strict=True)
    return {**found, "largest_difference": max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)}


def values(d: int, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Centred rows [n, d], B, W, B₀ [d, d] and ω [d] of the size that they have in a search."""
    source = generator(seed, "bench latent", d, n)
    rows = torch.randn(n, d, generator=source, dtype=torch.float64)
    rows = (rows - rows.mean(0)) / rows.std(0)
    drawn = torch.rand(3, d, d, generator=source, dtype=torch.float64) - 0.5
    arrows, before = drawn[:2] * (1 - torch.eye(d, dtype=torch.float64)) / d**0.5
    lower = (drawn[2] / (2 * d)).tril(-1)
    return rows, arrows, lower + lower.T, before, torch.ones(d, dtype=torch.float64)


def timed(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median wall seconds of each call, taken by turns after a first turn that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - began)
    return {name: median(seconds) for name, seconds in times.items()}
