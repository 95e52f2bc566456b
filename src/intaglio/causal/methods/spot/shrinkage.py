"""Shrinkage of correlations towards zero where rows are few for their columns."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.tables.gaussian_columns import GaussianColumns

ROWS_PER_COLUMN = 5
"""Rows for each column from which correlations are taken as they are: shrinking them hides what almost equal columns
tell apart."""


def shrinkage(correlation: Float64[ndarray, "d d"], rows: int) -> float:
    """The share λ of all correlations that is taken off where rows are few, 0 where there are enough.

    λ = Σ Var(r_ij) / Σ r_ij² over pairs, at most 1, which minimises the expected squared error of (1 - λ) r_ij; of
    normal columns Var(r_ij) = (1 - r_ij²)² / (n - 1). Without correlations λ is near 1, and with strong ones near 0.

    With about as many rows as columns the Gaussian likelihood of sample correlations grows beyond any penalty: a search
    then joins columns that are independent. Source: Schäfer and Strimmer, Statistical Applications in Genetics and
    Molecular Biology 4 (2005), article 32, whose variance is free of the law of the columns.

    Args:
        correlation: the sample correlations.
        rows: number n of rows that count, 2 or more.
    """
    d = len(correlation)
    if rows >= ROWS_PER_COLUMN * d or d < 2:
        return 0.0
    squared = correlation[np.triu_indices(d, 1)] ** 2
    above, below = float(((1 - squared) ** 2).sum()) / (rows - 1), float(squared.sum())
    return above / below if above < below else 1.0


def shrunk(covariance: Float64[ndarray, "d d"], share: float) -> Float64[ndarray, "d d"]:
    """A covariance [d, d] with that share of each covariance taken off, and the variances as they are."""
    return np.where(np.eye(len(covariance), dtype=bool), covariance, (1 - share) * covariance)


def with_few_rows(columns: GaussianColumns) -> GaussianColumns:
    """The columns, their covariance shrunk where rows are few, with a warning that says so."""
    correlation, d = columns.covariance / np.outer(columns.scales, columns.scales), len(columns.scales)
    if not (share := shrinkage(correlation, columns.rows)):
        return columns
    told = (
        f"{columns.rows:,} rows are few for {d:,} columns, so that {share:.0%} of each correlation was "
        f"taken off, and weak edges may be missing; give {ROWS_PER_COLUMN * d:,} rows, or fewer columns"
    )
    return replace(columns, covariance=shrunk(columns.covariance, share), warnings=(*columns.warnings, told))
