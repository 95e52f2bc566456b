"""`Encoded`: the input of the networks, independent of names, units, signs and the order of columns."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.causal.methods.sicl.networks import pair_statistics

CONTINUOUS, ORDINAL, BINARY, NOMINAL = range(4)
CELL_CHANNELS = 4
LEVEL_SLOTS = 16
"""Levels that are distinguished, plus one slot for cells without a level."""
MAX_FEATURE_ROWS = 20_000
"""Rows that features of columns are computed from, to bound memory at four numbers per cell."""
CLIP_SD = 8.0
"""Standardised numbers are clipped to this absolute value."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """A batch of tables of one size: some rows cell by cell, and statistics of all rows."""

    cells: Float[Tensor, "b n d 4"]
    """Standardised value, normal score, whether it is missing, log-frequency of its level."""
    slots: Int[Tensor, "b n d"]
    """Rank of the cell's level by frequency, from 1; 0 for a number and where it is missing."""
    kinds: Int[Tensor, "b d"]
    """CONTINUOUS, ORDINAL, BINARY or NOMINAL."""
    size: Float[Tensor, "b 2"]
    """log10 of all rows, and of the columns."""
    pairs: Float[Tensor, "b d d p"]
    """Statistics of two columns over all rows; see `pair_statistics`."""
    triples: Float[Tensor, "b d d d q"]
    """[i, j, k]: statistics of i and j given k over all rows; see `pair_statistics`."""

    def with_rows(self, rows: slice) -> "Encoded":
        """The same statistics with a slice of the cells' rows."""
        return replace(self, cells=self.cells[:, rows], slots=self.slots[:, rows])


def encode(
    values: Float[Tensor, "b n d"],
    kinds: Int[Tensor, "b d"],
    *,
    rows: slice = slice(None),
    counting: Float[Tensor, "b d d"] | None = None,
) -> Encoded:
    """Encodes a batch of tables.

    Args:
        values: numbers, or codes of levels from 0, in order for ORDINAL columns; NaN is missing. Statistics are
            computed in this precision.
        kinds: kinds of the columns: CONTINUOUS, ORDINAL, BINARY or NOMINAL.
        rows: rows that are given cell by cell; statistics are of all rows.
        counting: share in (0, 1] of a pair's rows that count as evidence; None for all of them.
    """
    b, n, d = values.shape
    known = ~values.isnan()
    filled = torch.where(known, values, values.new_zeros(()))
    standard = _standardised(filled, known)
    ranks = _ranks(values, known)
    counts = known.sum(1, keepdim=True).clamp(min=1)
    share = ((ranks - 0.5) / counts).clamp(1e-6, 1 - 1e-6)
    score = _standardised(torch.where(known, torch.special.ndtri(share), 0.0), known)
    slots, frequency = _levels(values, known, kinds)
    some = slice(0, MAX_FEATURE_ROWS)
    features = _features(score[:, some], share[:, some], slots[:, some], kinds, known[:, some])
    pairs, triples = pair_statistics.of(standard.clamp(-CLIP_SD, CLIP_SD), score, features, known, counting)
    shown = (standard.clamp(-CLIP_SD, CLIP_SD), score, (~known).to(values.dtype), frequency)
    cells = torch.stack([channel[:, rows] for channel in shown], -1)
    size = torch.tensor([[n, d]], dtype=values.dtype, device=values.device).log10().repeat(b, 1)
    if counting is not None:
        size[:, 0] += mean_share(counting).log10()
    single = torch.float32
    return Encoded(cells.to(single), slots[:, rows], kinds, size.to(single), pairs.to(single), triples.to(single))


def mean_share(share: Float[Tensor, "b d d"]) -> Float[Tensor, "b"]:
    """Mean over the pairs of columns of the share of the rows that counts; 1 for a single column."""
    d = share.shape[-1]
    if d < 2:
        return torch.ones_like(share[:, 0, 0])
    return (share.sum((1, 2)) - share.diagonal(dim1=1, dim2=2).sum(1)) / (d * (d - 1))


def _standardised(values: Float[Tensor, "b n d"], known: Bool[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Mean 0 and variance 1 over known cells; 0 where none is known."""
    count = known.sum(1, keepdim=True).clamp(min=1)
    centred = torch.where(known, values - values.sum(1, keepdim=True) / count, 0.0)
    spread = (centred.square().sum(1, keepdim=True) / count).sqrt()
    return centred / spread.clamp(min=1e-12)


def _ranks(values: Float[Tensor, "b n d"], known: Bool[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Ranks from 1 among known cells, with mean ranks for ties."""
    columns = torch.where(known, values, torch.inf).transpose(1, 2)
    ordered, positions = columns.sort(-1)
    position = torch.arange(1, ordered.shape[-1] + 1, device=values.device).expand(ordered.shape)
    rises = torch.ones_like(ordered, dtype=torch.bool)
    rises[..., 1:] = ordered[..., 1:] > ordered[..., :-1]
    first = torch.where(rises, position, 0).cummax(-1).values
    ends = torch.ones_like(rises)
    ends[..., :-1] = rises[..., 1:]
    last = torch.where(ends, position, ordered.shape[-1]).flip(-1).cummin(-1).values.flip(-1)
    mean = (first + last).to(values.dtype) / 2
    return torch.empty_like(mean).scatter_(-1, positions, mean).transpose(1, 2)


def _levels(
    values: Float[Tensor, "b n d"], known: Bool[Tensor, "b n d"], kinds: Int[Tensor, "b d"]
) -> tuple[Int[Tensor, "b n d"], Float[Tensor, "b n d"]]:
    """Each cell's slot, and the logarithm of its level's frequency."""
    with_levels = known & (kinds != CONTINUOUS)[:, None]
    codes = torch.where(with_levels, values, 0).long().clamp(0, LEVEL_SLOTS - 2)
    counts = torch.zeros(len(values), LEVEL_SLOTS - 1, values.shape[2], dtype=values.dtype, device=values.device)
    counts.scatter_add_(1, codes, with_levels.to(values.dtype))
    order = counts.argsort(dim=1, descending=True, stable=True).argsort(dim=1, stable=True)
    slots = torch.where(with_levels, order.gather(1, codes) + 1, 0)
    share = counts / counts.sum(1, keepdim=True).clamp(min=1)
    frequency = torch.where(with_levels, share.gather(1, codes).clamp(min=1e-6).log(), 0.0)
    return slots, frequency


def _features(
    score: Float[Tensor, "b n d"],
    share: Float[Tensor, "b n d"],
    slots: Int[Tensor, "b n d"],
    kinds: Int[Tensor, "b d"],
    known: Bool[Tensor, "b n d"],
) -> Float[Tensor, "b n d m"]:
    """Features of each column, of mean 0 over known cells, 0 where missing.

    For numbers and ordered levels the normal score and three Legendre polynomials of the rank; for other levels
    indicators of the most frequent ones.
    """
    t = 2 * share - 1
    smooth = torch.stack([score, (3 * t**2 - 1) / 2, (5 * t**3 - 3 * t) / 2, (35 * t**4 - 30 * t**2 + 3) / 8], -1)
    levels = torch.arange(1, smooth.shape[-1] + 1, device=slots.device)
    apart = (slots[..., None] == levels).to(score.dtype)
    by_level = ((kinds == BINARY) | (kinds == NOMINAL))[:, None, :, None]
    found = torch.where(by_level, apart, smooth) * known[..., None]
    mean = found.sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1)[..., None]
    return (found - mean) * known[..., None]
