"""Jacobi sweeps u <- F(u) over a window of a block's patches: the inner loop of several decoders."""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.flow.block.inverse import BlockInverse, limits, step
from intaglio.flow.iterate.stopping import Stopping
from intaglio.flow.results import BlockCallback, BlockReport
from intaglio.models.flow.tarflow import BlockCache, MetaBlock

Guess = Literal["output", "zeros"]
"""The initial guess of an iteration: the block's own output v, or zeros."""


def initial_guess(v: Float[Tensor, "n t c"], guess: Guess) -> Float[Tensor, "n t c"]:
    """The first iterate; its first patch is final in either case."""
    u = v.clone() if guess == "output" else torch.zeros_like(v)
    u[:, :1] = v[:, :1]
    return u


def coarse_sweeps(
    inverse: BlockInverse,
    v: Float[Tensor, "n t c"],
    u: Float[Tensor, "n t c"],
    count: int,
    report: BlockReport,
    watch: BlockCallback,
    copies: dict[int, MetaBlock] | None = None,
) -> None:
    """Sweep all patches of `u`, in place, `count` times in bfloat16, which improves a guess and proves nothing.

    `copies` keeps the blocks in bfloat16 for the next call; see `BlockInverse.coarse`. Weights that are bfloat16
    already are not swept.
    """
    if not count or inverse.block.dtype == torch.bfloat16:
        return
    coarse, limit = inverse.coarse({} if copies is None else copies), limits(v)
    for _ in range(count):
        fresh, _ = step(v[:, 1:], coarse.parameters(u[:, :-1]), 0, limit, inverse.counts)
        report.changes.append(float((fresh - u[:, 1:]).abs().max()))
        u[:, 1:] = fresh
        watch(u, 1)


def sweep(
    inverse: BlockInverse,
    v: Float[Tensor, "n t c"],
    u: Float[Tensor, "n t c"],
    stopping: Stopping,
    cap: int,
    report: BlockReport,
    watch: BlockCallback,
) -> Int64[Tensor, "m"]:
    """Sweep all patches of `u`, in place, until every picture is done or after `cap` sweeps; returns who is not done.

    A picture that is done leaves the batch, so that no picture's result depends on its neighbours. After the t-th
    sweep patches 0..t are exact, provided that `u[:, 0]` was: T - 1 sweeps are enough from any finite guess.
    """
    rows = torch.arange(len(v), device=v.device)
    part, target, now, limit = inverse, v, u, limits(v)
    for count in range(1, cap + 1):
        fresh, clamped = step(target[:, 1:], part.parameters(now[:, :-1]), count, limit, inverse.counts)
        delta = fresh - now[:, 1:]
        now = torch.cat([now[:, :1], fresh], 1)
        u[rows] = now
        done = stopping.done(fresh, delta, clamped)
        report.changes.append(float(stopping.changes[-1].max()))
        watch(u, min(count + 1, inverse.tokens))
        if inverse.block.dtype == torch.bfloat16 and stopping.stalled():
            _note(report, f"bfloat16 weights allow no smaller change than {report.changes[-1]:.1e}")
            return rows[:0]
        left = (~done).nonzero().flatten()
        if not len(left):
            return rows[:0]
        if len(left) < len(rows):
            rows, now, target, limit = rows[left], now[left], target[left], limit[left]
            part = part.rows(left)
            stopping.keep(left)
    return rows


def sweep_segment(
    inverse: BlockInverse,
    v: Float[Tensor, "n t c"],
    u: Float[Tensor, "n t c"],
    start: int,
    stop: int,
    cache: BlockCache,
    stopping: Stopping,
    cap: int,
    report: BlockReport,
    watch: BlockCallback,
) -> None:
    """Sweep the patches start+1..stop of `u`, in place, all pictures together, until every picture is done.

    Args:
        inverse: the block under labels and guidance.
        v: its output.
        u: the iterate; the patches 0..start are final.
        start: index of the last final patch; the patches start..stop-1 are the input of each sweep.
        stop: index of the last patch to sweep.
        cache: keys and values of the patches before `start`; each sweep adds those of start..stop-1, as it read them.
        stopping: the rule, before any sweep.
        cap: most sweeps; stop - start are always enough.
        report: takes the changes.
        watch: called after every sweep.
    """
    limit = limits(v)
    for count in range(1, cap + 1):
        parameters = inverse.parameters(u[:, start:stop], start, cache)
        fresh, clamped = step(v[:, start + 1 : stop + 1], parameters, count, limit, inverse.counts)
        delta = fresh - u[:, start + 1 : stop + 1]
        u[:, start + 1 : stop + 1] = fresh
        done = stopping.done(fresh, delta, clamped)
        report.changes.append(float(stopping.changes[-1].max()))
        watch(u, start + 1 + min(count, stop - start))
        if bool(done.all()) or count == stop - start:
            return


def _note(report: BlockReport, sentence: str) -> None:
    if sentence not in report.fallbacks:
        report.fallbacks.append(sentence)
