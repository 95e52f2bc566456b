"""What one block can be decoded by on this machine: for each choice its time and its error."""

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import Inverse, limits, step
from intaglio.flow.family import BlockReport
from intaglio.flow.iterate.sweeps import coarse_sweeps
from intaglio.flow.methods.auto import carry_out
from intaglio.flow.plan.decoder_plan import Choice
from intaglio.flow.plan.guess import LocalGuess
from intaglio.models.flow.tarflow import MetaBlock

LEVELS = (3.0, 1.7, 1.0, 0.5, 0.2)
"""Errors that are tried, as shares of what a block may have."""
WINDOWS = (4, 8, 16, 32, 64, 128)
COARSE = (0, 1, 2, 3, 4)
"""Sweeps in bfloat16 that are tried."""
CLEARLY = 0.85
"""A choice that takes less than this share of another's time, at no more error, makes the other not worth measuring."""
BEST = 2
"""Choices of sweeps that are measured for each error, those that should take least."""
SETTLED = 1e-6
"""An error below which more sweeps tell nothing."""
WIDE = 16
"""A window before which a coarse sweep is tried."""
REPEATS, BATCHES = 2, 4
"""Least timings of a choice, and batches at most that it is timed on."""
Start = Literal["output", "fitted"]
SEQUENTIAL = Choice("sequential")


@dataclass(frozen=True, eq=False)
class Measured:
    """One block with batches of its output and, decoded patch by patch, its input."""

    inverse: Inverse
    """Of all batches joined."""
    v: Float[Tensor, "n t c"]
    """In the block's own order, as u is."""
    u: Float[Tensor, "n t c"]
    batch: int
    guess: LocalGuess
    growth: float
    """Largest change of the pictures over largest change of u."""
    copies: dict[int, MetaBlock] = field(default_factory=dict)
    """In bfloat16, once needed."""

    def batches(self) -> Iterator[tuple[Inverse, Tensor, Tensor]]:
        """The block, its output and its input, batch by batch."""
        for rows in torch.arange(len(self.v), device=self.v.device).split(self.batch):
            yield self.inverse.rows(rows), self.v[rows], self.u[rows]


def options(found: Measured, allowed: float) -> list[Choice]:
    """Patch by patch, and what is faster than it among sweeps and windows, at errors up to `allowed`."""
    kept = [replace(_measured(found, SEQUENTIAL), error=0.0)]
    for one in _promising(found, allowed, kept[0].seconds):
        first = _tried(found, one)
        if any(other.seconds < CLEARLY * first.seconds and other.error <= first.error for other in kept):
            continue
        whole = _measured(found, one)
        if whole.seconds < kept[0].seconds and math.isfinite(whole.error):
            kept.append(whole)
    return kept


def _promising(found: Measured, allowed: float, sequential_s: float) -> Iterator[Choice]:
    """Choices that should be faster than patch by patch, by the times of their passes."""
    last = found.inverse.tokens - 1
    sweep_s, coarse_s = _pass_seconds(found, found.inverse, last), math.inf
    if found.inverse.block.dtype != torch.bfloat16:
        coarse_s = _pass_seconds(found, found.inverse.coarse(found.copies), last)
    errors = [level * allowed for level in LEVELS]
    yield from _sweeps(found, errors, sequential_s, sweep_s, coarse_s)
    for window in (window for window in reversed(WINDOWS) if window < last):
        pass_s = _pass_seconds(found, found.inverse, window)
        for coarse in (0, 1) if window >= WIDE else (0,):
            # Half of each window kept is about the best that was seen.
            if (coarse * coarse_s if coarse else 0) + 2 * last / window * pass_s < sequential_s:
                yield from (Choice("frontier", error, window, coarse, "fitted") for error in errors[:4:3])


def _sweeps(
    found: Measured, errors: Sequence[float], sequential_s: float, sweep_s: float, coarse_s: float
) -> Iterator[Choice]:
    """For each error the choices of sweeps that should take least, by the curves of their changes and errors."""
    cap = max(1, min(found.inverse.tokens - 1, int(sequential_s / sweep_s)))
    starts: tuple[Start, ...] = ("fitted", "output")
    curves: dict[tuple[Start, int], tuple[Tensor, Tensor]] = {
        (start, coarse): curve(found, start, coarse, cap)
        for start in starts
        for coarse in COARSE
        if not coarse or coarse * coarse_s < sequential_s
    }
    for error in errors:
        expected: list[tuple[float, Choice]] = []
        for (start, coarse), (changes, wrong_by) in curves.items():
            if (tolerance := tolerance_for(changes, wrong_by, error)) is not None:
                sweeps = 1 + float((changes >= tolerance).int().cummin(0).values[:-1].sum(0).float().mean())
                seconds = sweeps * sweep_s + (coarse * coarse_s if coarse else 0)
                expected.append((seconds, Choice("jacobi", tolerance, coarse_sweeps=coarse, guess=start, cap=cap)))
        yield from (
            choice for seconds, choice in sorted(expected, key=lambda of: of[0])[:BEST] if seconds < sequential_s
        )


def curve(found: Measured, start: Start, coarse: int, cap: int) -> tuple[Float[Tensor, "s n"], Float[Tensor, "s n"]]:
    """Largest change and largest error of every picture after each of `cap` sweeps that follow the coarse ones."""
    v, inverse = found.v, found.inverse
    block = inverse.block
    u = block.permuted(found.guess(block.permuted(v))) if start == "fitted" else v.clone()
    u[:, :1] = v[:, :1]
    coarse_sweeps(inverse, v, u, coarse, BlockReport(0, "jacobi"), lambda u, final: None, found.copies)
    limit, changes, errors = limits(v), [], []
    for count in range(1, cap + 1):
        fresh, held = step(v[:, 1:], inverse.parameters(u[:, :-1]), count, limit, inverse.effort)
        change = (fresh - u[:, 1:]).abs().amax((1, 2))
        changes.append(change if held is None else change.masked_fill(held.any(1), math.inf))
        u = torch.cat([u[:, :1], fresh], 1)
        errors.append((u - found.u).abs().amax((1, 2)))
        if count > 1 and float(errors[-1].max()) < SETTLED:
            break
    return torch.stack(changes), torch.stack(errors)


def tolerance_for(changes: Float[Tensor, "s n"], errors: Float[Tensor, "s n"], allowed: float) -> float | None:
    """The largest tolerance at which every picture stops with no more than the allowed error; None for none.

    No picture may stop while a larger error stands, then or later, so the tolerance lies below all changes up to there.
    """
    wrong = (errors > allowed).flip(0).int().cummax(0).values.flip(0).bool()
    if bool(wrong[-1].any()):
        return None
    early = changes[wrong]
    return 0.9 * float(early.min()) if len(early) else 2 * float(changes[0].max())


def growth(straight: Tensor, moved: Tensor, nudge: Tensor) -> float:
    """Largest change of a result over the largest change that caused it."""
    return float((moved - straight).abs().max() / nudge.abs().max())


def _measured(found: Measured, choice: Choice) -> Choice:
    """The choice with its median time a batch, and its largest error on those batches and on all pictures at once."""
    times, errors = [], [_error(found, choice, found.inverse, found.v, found.u)]
    batches = list(islice(found.batches(), BATCHES))
    for inverse, v, u in batches * math.ceil(REPEATS / len(batches)):
        began = _now(v)
        errors.append(_error(found, choice, inverse, v, u))
        times.append(_now(v) - began)
    return replace(choice, seconds=statistics.median(times), error=max(errors))


def _tried(found: Measured, choice: Choice) -> Choice:
    """The choice with the time and the error of one batch."""
    inverse, v, u = next(found.batches())
    began = _now(v)
    error = _error(found, choice, inverse, v, u)
    return replace(choice, seconds=_now(v) - began, error=error)


def _error(found: Measured, choice: Choice, inverse: Inverse, v: Tensor, u: Tensor) -> float:
    report = BlockReport(0, choice.method)
    answer = carry_out(choice, found.guess, inverse, v, report, lambda u, final: None, found.copies)
    return float((answer - u).abs().max())


def _pass_seconds(found: Measured, whole: Inverse, width: int) -> float:
    """Of one pass of a batch over so many patches."""
    v = found.v[: found.batch]
    inverse = whole.rows(torch.arange(len(v), device=v.device))
    cache = inverse.cache() if width < inverse.tokens - 1 else None
    start = (inverse.tokens - 1 - width) // 2
    times = []
    for _ in range(4):
        began = _now(v)
        inverse.parameters(v[:, start : start + width], start if cache else 0, cache)
        times.append(_now(v) - began)
    return min(times)


def _now(where: Tensor) -> float:
    """The clock, once the device has done what it was told."""
    if where.device.type == "cuda":
        torch.cuda.synchronize(where.device)
    return time.perf_counter()
