"""principal-columns: the feature nearest to each principal component."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.explain.surrogate.family import RankedColumns, SurrogateChooser


@dataclass(frozen=True, kw_only=True)
class PrincipalColumns(SurrogateChooser):
    """A small tree on features that have the largest part in each principal component.

    Features are scaled to mean 0 and deviation 1. Of the first component the feature of the largest loading is taken,
    then of the second among the others, and so on for the first `most` or `count`. The black box is not asked: what
    varies most need not be what it looks at.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the principal component that they have the largest part in"

    def scores(self, candidates: RankedColumns) -> Mapping[str, Float[ndarray, "c"]]:
        """See the class."""
        values = candidates.features.astype(np.float64)
        values = (values - values.mean(0)) / values.std(0)
        loadings = np.abs(np.linalg.svd(values, full_matrices=False)[2][: max(self.most, self.count)])
        found = np.zeros(values.shape[1])
        for number, part in enumerate(np.round(loadings, 9)):
            free = np.flatnonzero(found == 0)
            if len(free):
                found[free[int(part[free].argmax())]] = 1 / (1 + number)
        return {"component": found}
