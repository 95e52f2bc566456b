"""Time and error of the choices that one block can be decoded by on this machine."""

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

from intaglio.flow.block.inverse import BlockInverse, limits, step
from intaglio.flow.iterate.sweeps import coarse_sweeps
from intaglio.flow.plan.decoder_plan import Choice
from intaglio.flow.plan.guess import LocalGuess
from intaglio.flow.plan.planned_decoder import decode_by_choice
from intaglio.flow.results import BlockReport
from intaglio.models.flow.tarflow import MetaBlock

LEVELS = (3.0, 1.7, 1.0, 0.5, 0.2)
"""Errors that are tried, as shares of an equal share of the allowed error."""
WINDOWS = (4, 8, 16, 32, 64, 128)
"""Widths of the frontier that are tried, in patches."""
COARSE = (0, 1, 2, 3, 4)
"""Numbers of sweeps in bfloat16 that are tried."""
CLEARLY = 0.85
"""A choice that takes less than this share of another's time, at no more error, makes the other not worth measuring."""
BEST = 2
"""Choices of sweeps that are measured for each error, those that should take least time."""
CONVERGED = 1e-6
"""Error below which a curve ends."""
WIDE = 16
"""Width of a window, in patches, from which on a coarse sweep before it is tried."""
KEPT_OF_WINDOW = 0.5
"""Share of a window that becomes final in a pass, about the best that was seen."""
REPEATS, BATCHES = 2, 4
"""Least timings of a choice, and batches at most that it is timed on."""
Start = Literal["output", "fitted"]
SEQUENTIAL = Choice("sequential")


@dataclass(frozen=True, eq=False)
class SampledBlock:
    """One block with samples of its output and, decoded patch by patch, of its input."""

    inverse: BlockInverse
    """For all samples at once."""
    v: Float[Tensor, "n t c"]
    """Outputs, in the block's own order of patches, as u is."""
    u: Float[Tensor, "n t c"]
    """Inputs."""
    batch: int
    """Pictures of the batches that are timed."""
    guess: LocalGuess
    growth: float
    """Largest change of the pictures over largest change of u."""
    copies: dict[int, MetaBlock] = field(default_factory=dict)
    """The block in bfloat16, once needed."""

    def batches(self) -> Iterator[tuple[BlockInverse, Tensor, Tensor]]:
        """The block, its outputs and its inputs, batch by batch."""
        for rows in torch.arange(len(self.v), device=self.v.device).split(self.batch):
            yield self.inverse.rows(rows), self.v[rows], self.u[rows]


def options(block: SampledBlock, allowed: float) -> list[Choice]:
    """Sequential decoding, and what is faster than it among sweeps and windows, at errors up to about `allowed`."""
    kept = [replace(_measured(block, SEQUENTIAL), error=0.0)]
    for choice in _promising(block, allowed, kept[0].seconds):
        first = _tried(block, choice)
        if any(other.seconds < CLEARLY * first.seconds and other.error <= first.error for other in kept):
            continue
        whole = _measured(block, choice, kept[0])
        if whole.seconds < kept[0].seconds and math.isfinite(whole.error):
            kept.append(whole)
    return kept


def _promising(block: SampledBlock, allowed: float, sequential_s: float) -> Iterator[Choice]:
    """Choices that should be faster than sequential decoding, by the times of their passes."""
    last = block.inverse.tokens - 1
    sweep_s, coarse_s = _pass_seconds(block, block.inverse, last), math.inf
    if block.inverse.block.dtype != torch.bfloat16:
        coarse_s = _pass_seconds(block, block.inverse.coarse(block.copies), last)
    errors = [level * allowed for level in LEVELS]
    yield from _sweeps(block, errors, sequential_s, sweep_s, coarse_s)
    for window in (window for window in reversed(WINDOWS) if window < last):
        pass_s = _pass_seconds(block, block.inverse, window)
        for coarse in (0, 1) if window >= WIDE else (0,):
            if (coarse * coarse_s if coarse else 0) + last / (KEPT_OF_WINDOW * window) * pass_s < sequential_s:
                yield from (Choice("frontier", error, window, coarse, "fitted") for error in errors[:4:3])


def _sweeps(
    block: SampledBlock, errors: Sequence[float], sequential_s: float, sweep_s: float, coarse_s: float
) -> Iterator[Choice]:
    """For each error the choices of sweeps that should take least time, by the curves of their changes and errors."""
    cap = max(1, min(block.inverse.tokens - 1, int(sequential_s / sweep_s)))
    starts: tuple[Start, ...] = ("fitted", "output")
    curves: dict[tuple[Start, int], tuple[Tensor, Tensor]] = {
        (start, coarse): curve(block, start, coarse, cap)
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
        fastest = sorted(expected, key=lambda pair: pair[0])[:BEST]
        yield from (choice for seconds, choice in fastest if seconds < sequential_s)


def curve(
    block: SampledBlock, start: Start, coarse: int, cap: int
) -> tuple[Float[Tensor, "s n"], Float[Tensor, "s n"]]:
    """Largest change and largest error of every picture after each of `cap` sweeps that follow the coarse ones.

    The curves end early once all errors are below `CONVERGED`; a picture with a clamped patch changes infinitely.
    """
    v, inverse = block.v, block.inverse
    flow = inverse.block
    u = flow.permuted(block.guess(flow.permuted(v))) if start == "fitted" else v.clone()
    u[:, :1] = v[:, :1]
    coarse_sweeps(inverse, v, u, coarse, BlockReport(0, "jacobi"), lambda u, final: None, block.copies)
    limit, changes, errors = limits(v), [], []
    for count in range(1, cap + 1):
        fresh, clamped = step(v[:, 1:], inverse.parameters(u[:, :-1]), count, limit, inverse.counts)
        change = (fresh - u[:, 1:]).abs().amax((1, 2))
        changes.append(change if clamped is None else change.masked_fill(clamped.any(1), math.inf))
        u = torch.cat([u[:, :1], fresh], 1)
        errors.append((u - block.u).abs().amax((1, 2)))
        if count > 1 and float(errors[-1].max()) < CONVERGED:
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


def growth(result: Tensor, perturbed: Tensor, perturbation: Tensor) -> float:
    """Largest change of a result over the largest change that caused it."""
    return float((perturbed - result).abs().max() / perturbation.abs().max())


def _measured(block: SampledBlock, choice: Choice, beside: Choice | None = None) -> Choice:
    """The choice with its median time a batch, and its largest error on those batches and on all samples at once.

    With `beside`, a measured choice, both are timed by turns, and the time is that of `beside` over the median gain, so
    that all choices' times are as if they had been measured at once.
    """
    errors = [_error(block, choice, block.inverse, block.v, block.u)]
    batches = list(islice(block.batches(), BATCHES))
    times, ratios = [], []
    for turn, batch in enumerate(batches * math.ceil(REPEATS / len(batches))):
        took = {}
        for one in (choice, beside) if turn % 2 else (beside, choice):
            if one is not None:
                began = _now(block.v)
                error = _error(block, one, *batch)
                took[one] = _now(block.v) - began
                errors += [error] if one is choice else []
        times.append(took[choice])
        ratios += [took[beside] / took[choice]] if beside is not None else []
    seconds = beside.seconds / statistics.median(ratios) if beside is not None else statistics.median(times)
    return replace(choice, seconds=seconds, error=max(errors))


def _tried(block: SampledBlock, choice: Choice) -> Choice:
    """The choice with the time and the error of one batch."""
    inverse, v, u = next(block.batches())
    began = _now(v)
    error = _error(block, choice, inverse, v, u)
    return replace(choice, seconds=_now(v) - began, error=error)


def _error(block: SampledBlock, choice: Choice, inverse: BlockInverse, v: Tensor, u: Tensor) -> float:
    report = BlockReport(0, choice.method)
    answer = decode_by_choice(choice, block.guess, inverse, v, report, lambda u, final: None, block.copies)
    return float((answer - u).abs().max())


def _pass_seconds(block: SampledBlock, inverse: BlockInverse, width: int) -> float:
    """Least time of one pass of a batch over a window of so many patches, of four."""
    v = block.v[: block.batch]
    inverse = inverse.rows(torch.arange(len(v), device=v.device))
    cache = inverse.cache() if width < inverse.tokens - 1 else None
    start = (inverse.tokens - 1 - width) // 2
    times = []
    for _ in range(4):
        began = _now(v)
        inverse.parameters(v[:, start : start + width], start if cache else 0, cache)
        times.append(_now(v) - began)
    return min(times)


def _now(where: Tensor) -> float:
    """The clock in seconds, once the device is done with all it was given."""
    if where.device.type == "cuda":
        torch.cuda.synchronize(where.device)
    return time.perf_counter()
