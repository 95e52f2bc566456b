"""Jacobi sweeps u <- F(u) over a stretch of a block's patches: the inner loop of several decoders."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.flow.block.inverse import Inverse, limits, step
from intaglio.flow.family import BlockReport, Guess, Seen
from intaglio.flow.iterate.stopping import Stopping
from intaglio.models.flow.tarflow import MetaBlock, Past


def guessed(v: Float[Tensor, "n t c"], guess: Guess) -> Float[Tensor, "n t c"]:
    """What to start from; the first patch is right in either case."""
    u = v.clone() if guess == "output" else torch.zeros_like(v)
    u[:, :1] = v[:, :1]
    return u


def coarse_sweeps(
    inverse: Inverse,
    v: Float[Tensor, "n t c"],
    u: Float[Tensor, "n t c"],
    count: int,
    report: BlockReport,
    seen: Seen,
    copies: dict[int, MetaBlock] | None = None,
) -> None:
    """Sweep all patches of `u`, in place, `count` times in bfloat16, which brings a guess closer and proves nothing."""
    if not count or inverse.block.dtype == torch.bfloat16:
        return
    part, limit = inverse.coarse({} if copies is None else copies), limits(v)
    for _ in range(count):
        fresh, _ = step(v[:, 1:], part.parameters(u[:, :-1]), 0, limit, inverse.effort)
        report.changes.append(float((fresh - u[:, 1:]).abs().max()))
        u[:, 1:] = fresh
        seen(u, 1)


def sweep(
    inverse: Inverse,
    v: Float[Tensor, "n t c"],
    u: Float[Tensor, "n t c"],
    stopping: Stopping,
    cap: int,
    report: BlockReport,
    seen: Seen,
) -> Int64[Tensor, "m"]:
    """Sweep all patches of `u`, in place, until every picture is done or after `cap` sweeps; returns who is not.

    A picture that is done leaves the batch, so that no picture's result depends on its neighbours. After the t-th
    sweep patches 0..t are exact, provided that `u[:, 0]` was: T - 1 sweeps are enough from any finite guess.
    """
    rows = torch.arange(len(v), device=v.device)
    part, target, now, limit = inverse, v, u, limits(v)
    for count in range(1, cap + 1):
        fresh, held = step(target[:, 1:], part.parameters(now[:, :-1]), count, limit, inverse.effort)
        delta = fresh - now[:, 1:]
        now = torch.cat([now[:, :1], fresh], 1)
        u[rows] = now
        done = stopping.done(fresh, delta, held)
        report.changes.append(float(stopping.changes[-1].max()))
        seen(u, min(count + 1, inverse.tokens))
        if inverse.block.dtype == torch.bfloat16 and stopping.stalled():
            _tell(report, f"bfloat16 weights allow no smaller change than {report.changes[-1]:.1e}")
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
    inverse: Inverse,
    v: Float[Tensor, "n t c"],
    u: Float[Tensor, "n t c"],
    start: int,
    stop: int,
    cache: Past,
    stopping: Stopping,
    cap: int,
    report: BlockReport,
    seen: Seen,
) -> None:
    """Sweep the patches start+1..stop of `u`, in place, all pictures together, with those before them final.

    The patches start..stop-1 go in, and what they say to later ones stands in `cache` after every sweep.
    """
    limit = limits(v)
    for count in range(1, cap + 1):
        fresh, held = step(
            v[:, start + 1 : stop + 1], inverse.parameters(u[:, start:stop], start, cache), count, limit, inverse.effort
        )
        delta = fresh - u[:, start + 1 : stop + 1]
        u[:, start + 1 : stop + 1] = fresh
        done = stopping.done(fresh, delta, held)
        report.changes.append(float(stopping.changes[-1].max()))
        seen(u, start + 1 + min(count, stop - start))
        if bool(done.all()) or count == stop - start:
            return


def _tell(report: BlockReport, sentence: str) -> None:
    if sentence not in report.fallbacks:
        report.fallbacks.append(sentence)
