"""tsne: a grid of equally full cells over a projection to the plane by t-SNE."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.manifold import TSNE

from intaglio.errors import require
from intaglio.explain.collection.family import CollectionMapper
from intaglio.explain.collection.merge_tree import Members, MergeTree, halves, nested_tree


@dataclass(frozen=True, kw_only=True)
class TSNEMap(CollectionMapper):
    """A grid over the plane of t-SNE, its cells equally full.

    Features are projected to two numbers by t-SNE; the plane is halved at the median across its wider extent, and each
    half again, down to single pictures. A cell's height is its number of pictures, so that cells are opened evenly.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "a cell of a grid over the plane of t-SNE, as full as the others"
    growth: ClassVar[float] = 1.1

    perplexity: float = 30.0
    """Neighbours that a picture has in effect, above 0; a third of the other pictures, where these are fewer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.perplexity > 0, f"perplexity must be above 0, not {self.perplexity}")

    def tree(self, features: Float[ndarray, "n d"]) -> MergeTree:
        """See the class."""
        return grid_tree(self._plane(features))

    def _plane(self, features: Float[ndarray, "n d"]) -> Float[ndarray, "n 2"]:
        near = min(self.perplexity, (len(features) - 1) / 3)
        start = "pca" if features.shape[1] > 1 else "random"
        return TSNE(2, perplexity=near, init=start, random_state=self.seed).fit_transform(features).astype(np.float64)


def grid_tree(plane: Float[ndarray, "n 2"]) -> MergeTree:
    """The tree of a plane that is halved at medians, each time across the wider extent of the cell."""

    def parts(members: Members) -> Sequence[Members]:
        inside = plane[members]
        wider = int(np.ptp(inside, axis=0).argmax())
        return halves(members[np.argsort(inside[:, wider], kind="stable")])

    return nested_tree(len(plane), parts, lambda members: float(len(members)))
