"""Columns as a linear Gaussian model takes them: checked numbers, their covariance, and warnings."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.tables.table import Table
from intaglio.errors import BadInput

LARGEST_CONDITION = 1e10
"""Condition number of the correlations above which columns count as linearly dependent."""
DECIMALS = 12
"""Decimals that correlations are rounded to."""
RIDGE = 1e-3
"""Share of the variance that is added to it where there are too few rows."""
HEAVY_KURTOSIS = 10.0
"""Excess kurtosis above which a column is warned of: an exponential has 6."""
SHOWN = 5
"""Columns that a sentence names."""


@dataclass(frozen=True, eq=False)
class GaussianColumns:
    """The sufficient statistics of a linear Gaussian model."""

    covariance: Float64[ndarray, "d d"]
    """X'X / n of centred columns, each with the sign that makes its skewness positive; positive definite."""
    scales: Float64[ndarray, "d"]
    """Standard deviations of the columns in it: 1 where they were standardised."""
    rows: int
    warnings: tuple[str, ...]


def gaussian_columns(table: Table, standardise: bool) -> GaussianColumns:
    """The covariance of a table's columns.

    Raises:
        BadInput: levels without order, missing cells, or columns that are linearly dependent, by their names.
    """
    _check_numbers(table)
    n, d = table.values.shape
    # Powers of two change no digit, and keep squares within the range of floats.
    powers = np.frexp(np.abs(table.values).max(0))[1]
    values = np.ldexp(table.values, -powers)
    deviations = np.ldexp(values.std(0), powers)
    standard = (values - values.mean(0)) / values.std(0)
    # The search is sensitive to the last digit and to signs; neither is to depend on the units.
    standard *= np.where((standard**3).sum(0) < 0, -1.0, 1.0)
    correlation = np.round(standard.T @ standard / n, DECIMALS)
    warnings = _odd_columns(table, standard)
    if n <= d:
        correlation = (correlation + RIDGE * np.eye(d)) / (1 + RIDGE)
        warnings.append(
            f"{n} rows are no more than the {d} columns, so that a share of {RIDGE:g} of its own variance was added to "
            "each column; take few of the edges for sure, or leave columns out"
        )
    else:
        _check_independent(correlation, table.names)
    scales = np.ones(d) if standardise else deviations
    return GaussianColumns(correlation * np.outer(scales, scales), scales, n, tuple(warnings))


def _check_numbers(table: Table) -> None:
    if nominal := [name for name, kind in zip(table.names, table.kinds, strict=True) if kind == "nominal"]:
        raise BadInput(
            f"{_listed(nominal)}: levels without an order, of which a linear model makes nothing; leave such columns "
            "out (--without), put numbers in their place where they have an order, or take sicl, which allows "
            "for no hidden causes"
        )
    gaps = np.isnan(table.values).sum(0)
    if gaps.any():
        missing = [f"{table.names[k]} ({gaps[k]:,})" for k in np.flatnonzero(gaps)]
        raise BadInput(
            f"missing cells in {_listed(missing)}; fill them, leave these rows or columns out (--without), or "
            "take sicl, which allows for no hidden causes"
        )


def _check_independent(correlation: Float64[ndarray, "d d"], names: tuple[str, ...]) -> None:
    values, vectors = np.linalg.eigh(correlation)
    if values[0] * LARGEST_CONDITION > values[-1]:
        return
    weights = np.abs(vectors[:, 0])
    inside = [names[k] for k in np.argsort(-weights, kind="stable") if weights[k] > 0.05 * weights.max()]
    raise BadInput(
        f"{_listed(sorted(inside, key=names.index))} are linearly dependent, so that no one can say which acts on "
        "which; leave one of them out (--without)"
    )


def _odd_columns(table: Table, standard: Float64[ndarray, "n d"]) -> list[str]:
    found = []
    excess = (standard**4).mean(0) - 3
    if (heavy := np.flatnonzero(excess > HEAVY_KURTOSIS)).size:
        shown = _listed([f"{table.names[k]} ({excess[k]:.0f})" for k in heavy])
        found.append(
            f"heavy tails in {shown} (excess kurtosis): single rows decide over edges there; take logarithms or ranks "
            "of such columns, and compare"
        )
    coded = [name for name, kind in zip(table.names, table.kinds, strict=True) if kind != "continuous"]
    if coded:
        found.append(f"levels are taken for numbers with linear effects: {_listed(coded)}; marks there are less sure")
    return found


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
