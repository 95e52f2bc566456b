"""kmeans: k-means, and k-means again inside each box."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from intaglio.explain.collection.family import CollectionMapper
from intaglio.explain.collection.merge_tree import Members, MergeTree, halves, nested_tree


@dataclass(frozen=True, kw_only=True)
class KMeansMap(CollectionMapper):
    """Boxes of k-means, and of k-means again inside each box.

    K centres are moved until the sum of squared Euclidean distances of the features to the nearest is least, the best
    of four starts; so are K of each box, until boxes are single pictures. A group's height is the root of the sum of
    squares about its mean.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the pictures that are nearest to one of K centres"
    growth: ClassVar[float] = 1.1

    def tree(self, features: Float[ndarray, "n d"]) -> MergeTree:
        """See the class."""

        def parts(members: Members) -> Sequence[Members]:
            if len(members) <= self.boxes:
                return [members[place : place + 1] for place in range(len(members))]
            model = KMeans(self.boxes, n_init=cast(Any, 4), random_state=self.seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # of equal pictures there are fewer centres
                groups = model.fit_predict(features[members])
            found = [members[groups == name] for name in np.unique(groups)]
            return sorted(found, key=len, reverse=True) if len(found) > 1 else halves(members)

        def height(members: Members) -> float:
            rows = features[members]
            return float(np.sqrt(((rows - rows.mean(0)) ** 2).sum()))

        return nested_tree(len(features), parts, height)
