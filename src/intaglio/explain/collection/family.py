"""Collection mappers: the contract of a method that arranges the pictures of a collection as a tree of boxes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.errors import BadInput, require
from intaglio.explain.collection.label_agreement import LabelColumn, agreement_of
from intaglio.explain.collection.merge_tree import MergeTree
from intaglio.explain.collection.result import CollectionMap
from intaglio.explain.picture_features import FeatureSource
from intaglio.images.image_set import ImageSet
from intaglio.runs.picture_batches import content_order
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

TILES, CLUSTERS = 1500, 512
"""Pictures of which each has a tile of its own on the page, at most; of more, clusters that have one."""
FEW = 5
"""Pictures a box, on average, below which boxes are said to be of few."""
LEVEL = 0.05
"""Of the comparison with random boxes."""
Features = Float[ndarray, "n d"]


@dataclass(frozen=True, kw_only=True)
class CollectionMapper(ABC):
    """A way to arrange a collection: a binary tree over its pictures, made from their features alone.

    The map has the K boxes into which the root falls when the highest node is opened until there are K, a node's height
    being its own, and each box falls into K again when it is opened. Labels and captions are not used for the tree;
    boxes are described by them.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """A box in words, as the end of a sentence that begins "A box is"."""
    growth: ClassVar[float]
    """Power of the number of pictures that the time of the tree goes with."""

    boxes: int = 8
    """Boxes K that the map, and each box of it, falls into, 2 to 64."""
    batch: int = 64
    """Pictures that go through the network together, from 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of what is drawn, from 0."""

    def __post_init__(self) -> None:
        require(2 <= self.boxes <= 64, f"boxes must be 2 to 64, not {self.boxes}")
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def tree(self, features: Features) -> MergeTree:
        """The tree over rows of features [n, d], n from 3, not all of them equal."""

    def memory(self, pictures: int, features: int) -> int:
        """Bytes of the largest arrays that are held, roughly: the features, and a copy."""
        return 16 * pictures * features

    def __call__(
        self, source: FeatureSource, images: ImageSet, labels: Sequence[LabelColumn] = (), *, run: Run = Run.none()
    ) -> CollectionMap:
        """The map of a collection; it does not depend on the order of the pictures.

        Args:
            source: of their features.
            images: more than there are boxes.
            labels: of the pictures in their order, to describe and to measure boxes by.
            run: progress, states and warnings; a killed call goes on after the last batch.

        Raises:
            BadInput: for fewer pictures than boxes, and for features that are all the same.
            IntaglioError: for features that are not finite.
        """
        if len(images) < max(3, self.boxes):
            least = max(3, self.boxes)
            raise BadInput(
                f"{len(images)} pictures do not make {self.boxes} boxes; give {least} or more, or fewer --boxes"
            )
        order = content_order(images)
        images, labels = images[order], [_reordered(one, np.array(order)) for one in labels]
        features, tree = self._arranged(source, images, run)
        nodes = tree.cut(self.boxes)
        tiles = range(tree.leaves) if tree.leaves <= TILES else tree.cut(CLUSTERS)
        shown = sorted(tiles, key=lambda one: int(tree.starts[one]))
        groups = tree.groups(nodes)
        found = [agreement_of(groups, column, self.seed) for column in labels]
        result = CollectionMap(
            self.name, self.reading, source.name, images.names, images.captions, self.boxes, tree, tuple(labels),
            tuple(one for one in found if one is not None),
            tuple(shown), _medoids(tree, features, shown), _medoids(tree, features, nodes),
        )  # fmt: skip
        self._warn(result, run)
        return result

    def _arranged(self, source: FeatureSource, images: ImageSet, run: Run) -> tuple[Features, MergeTree]:
        """Features by batches, then the tree; each stored when it is known."""
        starts = range(0, len(images), self.batch)
        parts = [images[start : start + self.batch] for start in starts]
        rows = list[torch.Tensor]()
        key = digest([source.hash, images.hashes, self.batch])
        kept = [_kept(run, f"features-{number:05d}", key) for number in range(len(parts))]
        tree_key = digest([key, repr(self)])
        stored = _kept(run, "tree", tree_key)
        done = sum(one is not None for one in (*kept, stored))
        with run.progress(len(parts) + 1, "pictures", done) as progress:
            for number, part in enumerate(parts):
                found = kept[number]
                if found is None:
                    found = {"features": source.of(part)}
                    run.save_state(f"features-{number:05d}", found, {"key": key})
                    progress.advance()
                rows.append(found["features"])
            features = torch.cat(rows).double().numpy()
            if (features == features[0]).all():
                raise BadInput(f"the {source.name} are the same for all pictures; give others")
            if stored is None:
                tree = self.tree(features)
                arrays = {"merges": torch.from_numpy(tree.merges), "heights": torch.from_numpy(tree.heights)}
                run.save_state("tree", arrays, {"key": tree_key})
                progress.advance()
            else:
                tree = MergeTree(stored["merges"].numpy(), stored["heights"].numpy())
        return features, tree

    def _warn(self, found: CollectionMap, run: Run) -> None:
        if len(found.names) < FEW * self.boxes:
            run.warn(
                f"{len(found.names)} pictures in {self.boxes} boxes are few: boxes of few pictures look pure by chance"
            )
        for one in found.agreements:
            if one.p > LEVEL:
                run.warn(
                    f"boxes tell no more of {one.column} than random boxes of their sizes do (p {one.p:.2f}): their "
                    f"purity of {one.purity:.2f} is that of chance, {one.chance:.2f}"
                )


def _kept(run: Run, name: str, key: str) -> dict[str, torch.Tensor] | None:
    found = run.load_state(name)
    return dict(found[0]) if found is not None and found[1].get("key") == key else None


def _reordered(column: LabelColumn, order: Int[ndarray, "n"]) -> LabelColumn:
    predicted = None if column.predicted is None else column.predicted[order]
    return LabelColumn(column.name, column.classes, column.codes[order], predicted)


def _medoids(tree: MergeTree, features: Features, nodes: Sequence[int]) -> tuple[int, ...]:
    """For each node the picture below it that is nearest to the mean of them."""
    found = []
    for node in nodes:
        members = np.sort(tree.members(node))
        away = ((features[members] - features[members].mean(0)) ** 2).sum(1)
        found.append(int(members[away.argmin()]))
    return tuple(found)
