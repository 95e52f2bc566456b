"""`Variables`: the columns that independence tests compare, standardised numbers and codes of levels."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

Pair = tuple[int, int]
"""Two variables by their indices."""


@dataclass(frozen=True, eq=False)
class Variables:
    """Columns without missing cells: numbers with mean 0 and variance 1, levels as codes from 0.

    Raises:
        ValueError: as many `levels` and `widths` as columns are needed, and no column may be constant.
    """

    values: Float64[ndarray, "n d"]
    """Numbers are standardised when it is made; a constant column is refused, as it is independent of everything."""
    levels: tuple[int, ...]
    """Number of levels of each column; 0 for numbers."""
    widths: tuple[float | None, ...] = ()
    """Width of the Gaussian kernel of each column of numbers, in its standard deviations; None: by the rows."""

    def __post_init__(self):
        values = np.array(self.values, np.float64)
        widths = self.widths or (None,) * values.shape[1]
        if not len(self.levels) == len(widths) == values.shape[1]:
            raise ValueError("levels, widths and the columns of values must be as many")
        if not (np.ptp(values, 0) > 0).all():
            raise ValueError(f"column {int(np.argmin(np.ptp(values, 0)))} is constant, and constants are not tested")
        for k, levels in enumerate(self.levels):
            if not levels:
                values[:, k] = standardised(values[:, k])
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "widths", widths)

    def __len__(self) -> int:
        return len(self.values)

    def codes(self, k: int) -> ndarray:
        """The codes of a column of levels, as integers [n]."""
        return self.values[:, k].astype(np.int64)

    def numbers(self, k: int) -> Float64[ndarray, "n p"]:
        """A column as numbers: itself [n, 1], or indicators [n, levels − 1] of all levels but the first."""
        if not self.levels[k]:
            return self.values[:, [k]]
        return (self.codes(k)[:, None] == np.arange(1, self.levels[k])).astype(np.float64)


@runtime_checkable
class IndependenceTest(Protocol):
    """A test of conditional independence; its answers depend on the variables of the question alone."""

    def p_values(self, pairs: list[Pair], given: tuple[int, ...]) -> Float[ndarray, "k"]:
        """The p-value in [0, 1] of x ⟂ y | given, for each pair (x, y); `given` is sorted and holds neither."""
        ...


def standardised(column: Float64[ndarray, "n"]) -> Float64[ndarray, "n"]:
    """The column with mean 0 and variance 1; scaled by its largest value first, so that no square overflows."""
    scaled = column / np.abs(column).max()
    scaled = scaled - scaled.mean()
    return scaled / np.sqrt((scaled**2).mean())
