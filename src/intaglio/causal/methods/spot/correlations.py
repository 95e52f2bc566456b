"""Correlation matrices with their number of rows: checked, from normal scores of columns or as given."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from intaglio.causal.tables.normal_scores import normal_scores
from intaglio.errors import BadInput

TOLERANCE = 1e-8
"""Largest difference from symmetry, from ones on the diagonal, and from the range of a correlation."""
LARGEST_CONDITION = 1e10
"""Condition number above which columns are warned of as almost linearly dependent."""
RIDGE = 1e-3
"""Share of the variance that is added to it where there are no more rows than columns."""
FEWEST_ROWS = 3


@dataclass(frozen=True, eq=False)
class Correlations:
    """A correlation matrix of d ≥ 2 variables, without negative eigenvalues, computed from n ≥ 3 independent rows.

    Raises:
        BadInput: a matrix that is not square, symmetric, finite, within ±1, with ones on the diagonal, or has a
            negative eigenvalue; two variables with a correlation of ±1; names that are not of it; too few rows or
            variables.
    """

    matrix: Float64[ndarray, "_ _"]
    """[d, d], symmetric; read-only."""
    rows: int
    names: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=(), kw_only=True)
    """Sentences about rows that are too few and columns that are almost dependent."""

    def __post_init__(self):
        _check_shape(self.matrix, self.rows, self.names)
        matrix = np.array(self.matrix)
        _check_cells(matrix, self.names)
        matrix = np.clip((matrix + matrix.T) / 2, -1, 1)
        np.fill_diagonal(matrix, 1.0)
        matrix, found = _definite(matrix, self.rows)
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "warnings", (*self.warnings, *found))

    @classmethod
    def of_rows(cls, values: Float64[ndarray, "n d"], names: Sequence[str]) -> "Correlations":
        """The correlations of the normal scores of each column, so that monotone changes of units do not matter.

        Raises:
            BadInput: cells that are missing or infinite, or a constant column, by name; what the class refuses.
        """
        names = tuple(names)
        if values.shape[1] != len(names):
            raise BadInput(f"{len(names)} names for {values.shape[1]} columns; give each column one name")
        for name, column in zip(names, values.T, strict=True):
            if not np.isfinite(column).all():
                raise BadInput(f"{name} has missing or infinite cells; fill them, or leave the column or rows out")
            if len(column) and column.min() == column.max():
                raise BadInput(f"{name} is constant, so that nothing can depend on it; leave it out")
        if min(values.shape) < 2:
            raise BadInput(f"a table of {len(values)} rows and {len(names)} columns has no correlations; give more")
        scores = np.column_stack([normal_scores(column) for column in values.T])
        return cls(np.corrcoef(scores, rowvar=False), len(values), names)


def _check_shape(matrix: ndarray, rows: int, names: tuple[str, ...]) -> None:
    d = len(matrix)
    if matrix.shape != (d, d):
        raise BadInput(f"a correlation matrix is square, this one is {' × '.join(map(str, matrix.shape))}")
    if d < 2 or rows < FEWEST_ROWS:
        raise BadInput(f"{d} variables over {rows} rows; give 2 variables or more, and {FEWEST_ROWS} rows or more")
    if len(names) != d or len(set(names)) < d:
        raise BadInput(f"{d} variables need {d} different names, not {', '.join(names)}")


def refuse_cells(
    wrong: Bool[ndarray, "d d"], matrix: Float64[ndarray, "d d"], names: tuple[str, ...], words: str
) -> None:
    """`BadInput` that names the first pair with a wrong cell; in `words`, `{pair}` stands for it and its number.

    Raises:
        BadInput: any cell is wrong.
    """
    if (cells := np.argwhere(wrong)).size:
        i, j = cells[0]
        raise BadInput(words.format(pair=f"{names[i]} and {names[j]} ({matrix[i, j]:g})"))


def _check_cells(matrix: Float64[ndarray, "d d"], names: tuple[str, ...]) -> None:
    finite = "the correlation of {pair} is not a finite number; compute it from columns without missing cells"
    refuse_cells(~np.isfinite(matrix), matrix, names, finite)
    off = ~np.eye(len(matrix), dtype=bool)
    scaled = "divide covariances by the standard deviations"
    for wrong, what in (
        (~off & (np.abs(matrix - 1) > TOLERANCE), f"is not 1; {scaled}"),
        (np.abs(matrix - matrix.T) > TOLERANCE, "is not that of the same pair the other way round; make them equal"),
        (np.abs(matrix) > 1 + TOLERANCE, f"is outside of -1 to 1; {scaled}"),
        (off & (np.abs(matrix) >= 1 - 1e-12), "is 1 or -1, so that the two are one; leave one of them out"),
    ):
        refuse_cells(wrong, matrix, names, f"the correlation of {{pair}} {what}")


def _definite(matrix: Float64[ndarray, "d d"], rows: int) -> tuple[Float64[ndarray, "d d"], list[str]]:
    """The matrix, with a ridge where rows are too few for an inverse, and warnings."""
    d, found = len(matrix), []
    least = np.linalg.eigvalsh(matrix)[0]
    if rows <= d and least > -TOLERANCE:
        matrix = (matrix + RIDGE * np.eye(d)) / (1 + RIDGE)
        found.append(
            f"{rows} rows are no more than the {d} variables, so that a share of {RIDGE:g} of its own variance was "
            "added to each; take few of the probabilities for sure, or leave variables out"
        )
    values = np.linalg.eigvalsh(matrix)
    if values[0] <= -TOLERANCE:
        raise BadInput(
            f"the correlation matrix has the eigenvalue {values[0]:.3g}, which no table gives; compute all "
            "correlations from the same rows"
        )
    if values[0] * LARGEST_CONDITION <= values[-1]:
        found.append(
            "some variables are almost linear functions of others, so that independence says little about what acts on "
            "what; leave some of them out"
        )
    return matrix, found
