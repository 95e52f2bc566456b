"""Repeated rows: rows that agree in numbers that hardly ever agree by chance, as in a table that was appended.

They agree but for what rounding leaves; or in all columns but one or two of numbers that are all different, such as an
identifier that was written anew; or but for a small noise in every number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, UInt64
from numpy import ndarray
from scipy.stats import f

from intaglio.causal.tables.column import ColumnKind
from intaglio.causal.tables.noisy_repeats import noisy_repeats
from intaglio.causal.tables.normal_scores import mean_ranks
from intaglio.causal.tables.row_content import content_hash, hash_of_rows

MIN_SHARE = 0.02
"""Least share of rows that repeat another one."""
FINE_AGREEMENT = 0.01
"""Largest probability that a column of fine numbers agrees in two rows."""
CHANCE_MARGIN = 100.0
"""Repeated rows over those that independent columns of fine numbers have by chance, from which chance is ruled out."""


DIGIT = 1e-6
"""Differences, in interquartile ranges of a column, that are not told from none."""
FRESH_SHARE = 0.5
"""Share of different numbers from which a column may have been written anew in rows that repeat others."""
MOST_FRESH = 2
"""Most such columns."""
UNRELATED, FAR = 1e-3, 3.29
"""P-value, and standard errors of a correlation, from which such a column depends on the group of its row, or on
another one: it measures something."""


@dataclass(frozen=True)
class RepeatedRows:
    """Rows that repeat others."""

    rows: int
    """Rows of the table."""
    distinct: int
    """Different rows."""
    fresh: tuple[int, ...] = ()
    """Indices of the columns in which rows that repeat others differ from these; none in most tables."""
    up_to: Literal["", "the last digits", "a small noise"] = ""
    """What rows that repeat others differ by in the other columns."""
    kept: Bool[ndarray, "n"] = field(kw_only=True, compare=False)
    """One row of each group, which does not depend on the order of the rows: the first in an order by content."""


def repeated_rows(values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...]) -> RepeatedRows | None:
    """The rows that repeat others; None where there are few, or levels and coarse numbers explain them.

    Args:
        values: numbers and codes of levels, NaN where missing.
        kinds: kinds of the columns.
    """
    codes = np.stack([_codes(values[:, k], kinds[k] == "continuous") for k in range(len(kinds))], 1)
    for fresh in _fresh_columns(values, codes, kinds):
        found = _groups_of_rows(values, codes, [k for k in range(len(kinds)) if k not in fresh], kinds)
        if found is not None:
            kept, exact = found
            return RepeatedRows(
                len(values), int(kept.sum()), tuple(fresh), "" if exact else "the last digits", kept=kept
            )
    if (kept := noisy_repeats(values, tuple(kinds))) is None:
        return None
    return RepeatedRows(len(values), int(kept.sum()), (), "a small noise", kept=kept)


def _groups_of_rows(
    values: Float[ndarray, "n d"], codes: Int[ndarray, "n d"], columns: list[int], kinds: Sequence[ColumnKind]
) -> tuple[Bool[ndarray, "n"], bool] | None:
    """One row of each group that agrees in some columns, and whether it does to the last digit; None by chance."""
    n, group = len(values), hash_of_rows(codes[:, columns], salted=True)
    order = np.lexsort([np.arange(n), content_hash(values), group])
    kept = np.zeros(n, bool)
    kept[order[np.append(True, group[order][1:] != group[order][:-1])]] = True
    extra = n - int(kept.sum())
    if extra < max(5, MIN_SHARE * n):
        return None
    numbers = [k for k in columns if kinds[k] == "continuous"]
    fine = [k for k in numbers if _agreement(values[kept & ~np.isnan(values[:, k]), k]) < FINE_AGREEMENT]
    # Rows agree for a reason of their own where all fine numbers are missing.
    kept |= np.isnan(values[:, fine]).all(1)
    extra = n - int(kept.sum())
    by_chance = n * (n - 1) / 2 * float(np.prod([_agreement_of_cells(values[kept, k]) for k in fine]))
    if extra < max(5, MIN_SHARE * n) or extra <= CHANCE_MARGIN * by_chance:
        return None
    fresh = [values[:, k] for k in range(len(kinds)) if k not in columns]
    if not all(_is_new(column, group) for column in fresh):
        return None
    repeats = values[~kept][:, columns]
    again = pd.DataFrame(np.concatenate([values[kept][:, columns], repeats])).duplicated().to_numpy()
    return kept, bool(again[int(kept.sum()) :].all())


def _is_new(column: Float[ndarray, "n"], group: UInt64[ndarray, "n"]) -> bool:
    """Whether a column numbers the rows, or is no more alike within groups of rows than between them.

    What is measured in each row of a group, as of pupils of one school, hangs on the group: such rows are no repeats.
    """
    known = ~np.isnan(column)
    ranks, groups = mean_ranks(column[known]), np.unique(group[known], return_inverse=True)[1]
    sizes = np.bincount(groups)
    within, between = len(ranks) - len(sizes), len(sizes) - 1
    if within < 1 or between < 1:
        return False
    if (column[known] % 1 == 0).all() and len(np.unique(ranks)) == len(ranks):
        return True
    means = np.bincount(groups, ranks) / sizes
    ratio = (sizes * (means - ranks.mean()) ** 2).sum() / between / (((ranks - means[groups]) ** 2).sum() / within)
    return bool(f.sf(ratio, between, within) > UNRELATED)


def _fresh_columns(
    values: Float[ndarray, "n d"], codes: Int[ndarray, "n d"], kinds: Sequence[ColumnKind]
) -> Iterator[list[int]]:
    """No column, that with most different numbers, and the two with most where they are unrelated."""
    yield []
    counts = {k: len(np.unique(codes[:, k])) for k, kind in enumerate(kinds) if kind == "continuous"}
    most = sorted((k for k in counts if counts[k] > FRESH_SHARE * len(codes)), key=lambda k: -counts[k])[:MOST_FRESH]
    if len(kinds) > 2 and most:
        yield most[:1]
    if len(kinds) > 3 and len(most) == 2 and not _related(*values[:, most].T):
        yield most


def _related(one: Float[ndarray, "n"], two: Float[ndarray, "n"]) -> bool:
    both = ~np.isnan(one) & ~np.isnan(two)
    first, second = (mean_ranks(column[both]) for column in (one, two))
    return bool(both.sum() < 4 or abs(np.arctanh(np.corrcoef(first, second)[0, 1])) * np.sqrt(both.sum() - 3) > FAR)


def _codes(column: Float[ndarray, "n"], numeric: bool) -> Int[ndarray, "n"]:
    """Whole numbers that agree where cells do but for `DIGIT`; missing cells agree with each other."""
    known = ~np.isnan(column)
    found = np.full(len(column), np.iinfo(np.int64).min)
    if not known.any():
        return found
    scaled = column[known] / max(float(np.abs(column[known]).max()), 1e-300)
    low, middle, high = np.quantile(scaled, [0.25, 0.5, 0.75])
    unit = DIGIT * float(high - low or scaled.std() or 1.0) if numeric else 0.0
    exact = np.unique(column[known], return_inverse=True)[1]
    found[known] = np.round(np.clip((scaled - middle) / unit, -1e18, 1e18)).astype(np.int64) if unit else exact
    return found


def _agreement_of_cells(column: Float[ndarray, "n"]) -> float:
    """Probability that two cells agree by chance or are both missing."""
    missing = float(np.isnan(column).mean())
    return missing**2 + (1 - missing) ** 2 * _agreement(column[~np.isnan(column)])


def _agreement(known: Float[ndarray, "m"]) -> float:
    """Probability that a number agrees by chance in two rows, estimated from different rows; 1 where there is none.

    It is the share of pairs of rows that do agree, as where a number belongs to a group of rows, or the least distance
    of two numbers over their range, which is larger where they are rounded.
    """
    different, counts = np.unique(known, return_counts=True)
    if len(different) < 2:
        return 1.0
    pairs = len(known) * (len(known) - 1) / 2
    least = float(np.diff(different).min() / (different[-1] - different[0]))
    return max(float((counts * (counts - 1)).sum() / 2 / pairs), least)
