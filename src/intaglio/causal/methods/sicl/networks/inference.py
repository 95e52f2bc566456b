"""Inference: a network's logits of tables of any length, independent of the order of rows and columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from intaglio.causal.methods.sicl.networks.base import Network
from intaglio.causal.methods.sicl.networks.encoding import CONTINUOUS, ORDINAL, encode

MAX_PIECES = 4
"""Most pieces of a table's rows that a network is run on; their logits are averaged."""
MAX_PIECES_WIDE, WIDE_COLUMNS = 2, 50
"""Most pieces of a table with more than so many columns."""
ColliderLogits = Callable[[Int[ndarray, "t 3"]], Float[ndarray, "t"]]
"""From triples (centre, leg, leg) to logits that they are colliders, symmetric in the legs."""


@dataclass(frozen=True, eq=False)
class Logits:
    """Uncalibrated logits of one table."""

    skeleton: Float[ndarray, "d d"]
    """Logits that a pair is adjacent; symmetric."""
    colliders: ColliderLogits
    """Logits that triples are colliders."""
    marks: Float[ndarray, "d d 3"] | None
    """Logits, given adjacency, of i → j compelled, j → i compelled, reversible; None without this head."""
    arrows: Float[ndarray, "d d"] | None
    """Logits of i → j; Node-Edge networks only."""
    statistics: Float[ndarray, "d d p"]
    """The statistics of pairs that the network was given; see `pair_statistics`."""


@torch.no_grad()
def logits_of(
    network: Network,
    values: Float[ndarray, "b n d"],
    kinds: Int[ndarray, "b d"],
    context: int,
    share: Float[ndarray, "b d d"] | None = None,
    draws: int = 1,
) -> list[Logits]:
    """The logits of each table of a batch of one size.

    Args:
        network: a network in eval mode.
        values: numbers and codes of levels, NaN where missing.
        kinds: kinds of the columns, as codes of `encoding`.
        context: rows that the network is given cell by cell at a time; statistics are of all rows.
        share: share in (0, 1] of the rows of each pair of columns that count as evidence; None for all of them.
        draws: number of draws of one table that the caller averages over, which share the pieces of its rows.
    """
    device = next(network.parameters()).device
    ordered = torch.from_numpy(np.stack([canonical_table(*one) for one in zip(values, kinds, strict=True)])).to(device)
    b, n, d = ordered.shape
    most = MAX_PIECES if d <= WIDE_COLUMNS else MAX_PIECES_WIDE
    shown = _pieces(n, context, max(1, most // draws))
    counting = None if share is None else torch.from_numpy(share).to(device)
    whole = encode(ordered, torch.from_numpy(kinds).to(device), rows=slice(0, shown[-1].stop), counting=counting)
    pieces = [network(whole.with_rows(rows)) for rows in shown]
    skeleton = torch.stack([piece.skeleton for piece in pieces]).mean(0).double().cpu().numpy()
    marks, arrows = (
        None
        if getattr(pieces[0], name) is None
        else torch.stack([getattr(piece, name) for piece in pieces]).mean(0).double().cpu().numpy()
        for name in ("marks", "arrows")
    )

    def colliders(table: int) -> ColliderLogits:
        def of(triples: Int[ndarray, "t 3"]) -> Float[ndarray, "t"]:
            return _colliders([piece.colliders for piece in pieces], table, triples, device)

        return of

    return [
        Logits(
            (skeleton[k] + skeleton[k].T) / 2,
            colliders(k),
            None if marks is None else marks[k],
            None if arrows is None else arrows[k],
            whole.pairs[k].double().cpu().numpy(),
        )
        for k in range(b)
    ]


def mean_logits(each: Sequence[Logits]) -> Logits:
    """The mean of the logits, and of the statistics, of several tables of the same columns."""
    if len(each) == 1:
        return each[0]

    def colliders(triples: Int[ndarray, "t 3"]) -> Float[ndarray, "t"]:
        return np.mean([one.colliders(triples) for one in each], axis=0)

    marks, arrows = (
        None if getattr(each[0], name) is None else np.mean([getattr(one, name) for one in each], axis=0)
        for name in ("marks", "arrows")
    )
    skeleton, statistics = (
        np.mean([getattr(one, name) for one in each], axis=0) for name in ("skeleton", "statistics")
    )
    return Logits(skeleton, colliders, marks, arrows, statistics)


@torch.no_grad()
def _colliders(
    heads: list[Callable[[Tensor], Tensor]], table: int, triples: Int[ndarray, "t 3"], device: torch.device
) -> Float[ndarray, "t"]:
    found = np.empty(len(triples))
    for start in range(0, len(triples), 20_000):
        some = torch.from_numpy(np.ascontiguousarray(triples[start : start + 20_000], np.int64)).to(device)
        asked = torch.cat([torch.full_like(some[:, :1], table), some], 1)
        mean = torch.stack([head(asked) for head in heads]).mean(0)
        found[start : start + 20_000] = mean.double().cpu().numpy()
    return found


def _pieces(rows: int, context: int, most: int) -> list[slice]:
    """At most `most` slices of `context` rows each, or one of all rows where there are fewer."""
    count = max(1, min(most, rows // context))
    return [slice(k * context, (k + 1) * context) for k in range(count)] if rows > context else [slice(0, rows)]


def scaled_by_powers_of_two(values: Float[ndarray, "n d"], kinds: Int[ndarray, "d"]) -> Float[ndarray, "n d"]:
    """Numeric columns scaled by powers of two, which is exact, so that their cubes neither overflow nor underflow.

    A column that is constant, as may be in a subsample, becomes 0.
    """
    found = values.astype(np.float64)
    for k in np.flatnonzero(kinds == CONTINUOUS):
        column = found[:, k]
        known = column[~np.isnan(column)]
        half = known.max() / 2 - known.min() / 2 if known.size else 0.0
        found[:, k] = np.ldexp(column, -np.frexp(half)[1]) if half > 0 else np.where(np.isnan(column), np.nan, 0.0)
    return found


def canonical_table(values: Float[ndarray, "n d"], kinds: Int[ndarray, "d"]) -> Float[ndarray, "n d"]:
    """The table with an order of rows, and signs of columns, that depend only on its content.

    Rows are ordered by a hash of the ranks of their cells that is a sum over columns, so that the order of columns does
    not matter; numbers and ordered levels are flipped so that their third moment is positive.
    """
    turned = values.astype(np.float64)
    for k in np.flatnonzero((kinds == CONTINUOUS) | (kinds == ORDINAL)):
        if _third_moment(turned[:, k]) < 0:
            turned[:, k] = -turned[:, k] if kinds[k] == CONTINUOUS else np.nanmax(turned[:, k]) - turned[:, k]
    return turned[row_order(turned, kinds)]


def row_order(values: Float[ndarray, "n d"], kinds: Int[ndarray, "d"]) -> Int[ndarray, "n"]:
    """Indices that sort the rows by a hash of their content; see `canonical_table`.

    Rows with the same ranks in different columns, as in balanced designs, are ordered by a second hash, in which
    columns are identified by the rows that they occur with.
    """
    cells = np.stack([_cell_hashes(values[:, k], int(kinds[k])) for k in range(len(kinds))], 1)
    first = cells.sum(1, dtype=np.uint64)
    columns = _scrambled(cells ^ _scrambled(first)[:, None]).sum(0, dtype=np.uint64)
    return np.lexsort((_scrambled(cells ^ columns).sum(1, dtype=np.uint64), first))


def _third_moment(column: Float[ndarray, "n"]) -> float:
    """The third central moment, summed in the order of the values, so that the order of rows changes no bit.

    It is 0 where no value is known.
    """
    known = np.sort(column[~np.isnan(column)])
    if not known.size:
        return 0.0
    return float(((known - known.mean()) ** 3).sum())


def _cell_hashes(column: Float[ndarray, "n"], kind: int) -> ndarray:
    """A 64-bit hash of the rank of each cell."""
    filled = np.where(np.isnan(column), np.inf, column)
    rank = np.searchsorted(np.sort(filled), filled).astype(np.uint64)
    return _scrambled(rank + np.uint64(1 + 2**40 * kind))


def _scrambled(x: ndarray) -> ndarray:
    """A bijective hash of 64 bits (the finaliser of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
