"""look-clusters: clusters of features alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.errors import require
from intaglio.explain.slices.family import PictureSlice, SliceFinder, most_wrong
from intaglio.explain.slices.judged_rows import JudgedRows


@dataclass(frozen=True, kw_only=True)
class LookClusters(SliceFinder):
    """Clusters of pictures by k-means on features alone.

    Those with most errors beyond their share; classes are not known to the clustering.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "a cluster of looks"

    clusters: int = 25
    """Clusters, from 2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.clusters >= 2, f"clusters must be at least 2, not {self.clusters}")

    def find(self, rows: JudgedRows) -> Sequence[PictureSlice]:
        """See the class."""
        from sklearn.cluster import KMeans

        count = min(self.clusters, len(np.unique(rows.features, axis=0)), len(rows) // 2)
        settings: Any = {"n_init": 4, "random_state": self.seed}
        model = KMeans(count, **settings).fit(rows.features)

        def inside(given: JudgedRows, k: int) -> Float[ndarray, "n"]:
            return np.asarray(np.asarray(model.predict(given.features)) == k, np.float64)

        taken = np.stack([inside(rows, k) for k in range(count)], 1)
        return [
            PictureSlice(f"cluster {k}", lambda given, k=k: inside(given, k) * (1 + given.wrong) / 2)
            for k in most_wrong(taken, rows, self.slices)
        ]
