"""The result of a map of a collection: its tree, its boxes and how they agree with labels; stored and read again.

`collection.safetensors` in the run's folder has the tree and the labels as arrays of integers, and in its metadata a
note of the rest; `boxes.csv` has a line a box, `pictures.csv` a line a picture.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from intaglio.explain.caption_words import CaptionWords
from intaglio.explain.collection.label_agreement import LabelAgreement, LabelColumn
from intaglio.explain.collection.merge_tree import MergeTree
from intaglio.files import atomic_write
from intaglio.runs.stored_table import StoredTable
from intaglio.runs.tables import rows_csv

FILE, TABLE, PICTURES = "collection.safetensors", "boxes.csv", "pictures.csv"
COLUMNS = ["box", "pictures", "words", "medoid"]
"""Columns of every table of boxes; three more a label."""


@dataclass(frozen=True, eq=False)
class CollectionMap(StoredTable):
    """A collection arranged by one method."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command maps the collection again"

    method: str
    reading: str
    features: str
    """The features that the tree is made from, in words."""
    names: tuple[str, ...]
    """Of pictures, in the order of the leaves' numbers."""
    captions: tuple[str | None, ...]
    count: int
    """Boxes K that a node falls into."""
    tree: MergeTree
    labels: tuple[LabelColumn, ...]
    agreements: tuple[LabelAgreement, ...]
    """Of the boxes with those labels that at least two pictures have."""
    tiles: tuple[int, ...]
    """Nodes with one tile each on the page, from left to right: pictures, or clusters of them where there are many."""
    tile_medoids: tuple[int, ...]
    """The picture of each tile."""
    box_medoids: tuple[int, ...]
    """The picture nearest to the mean of each box."""

    @cached_property
    def boxes(self) -> tuple[int, ...]:
        """Nodes of the map's K boxes, from left to right."""
        return tuple(self.tree.cut(self.count))

    @cached_property
    def words(self) -> CaptionWords:
        """Of the captions."""
        return CaptionWords(self.captions)

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"A map by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        further = [f"{one.name}{end}" for one in self.labels for end in ("", " purity", " wrong")]
        return [*COLUMNS, *further]

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        told = f"{len(self.names):,} pictures in {len(self.boxes)} boxes, by {self.features}"
        parts = [f"{one.purity:.2f} for {one.column} (random boxes {one.chance:.2f})" for one in self.agreements]
        return f"{'; purity '.join([told, ', '.join(parts)] if parts else [told])}."

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a box; the keys are `COLUMNS`, and of each label the commonest, its share, and wrong answers."""
        found = []
        for number, (node, medoid) in enumerate(zip(self.boxes, self.box_medoids, strict=True)):
            members = self.tree.members(node)
            row: dict[str, Any] = {
                "box": number,
                "pictures": len(members),
                "words": " ".join(self.words.of(members)),
                "medoid": self.names[medoid],
            }
            for column in self.labels:
                row[column.name], row[f"{column.name} purity"] = column.commonest(members)
                row[f"{column.name} wrong"] = column.wrong(members)
            found.append(row)
        return found

    def figures(self) -> dict[str, Any]:
        """Counts, the largest box, and by label the agreement of the boxes with it."""
        sizes = [int(self.tree.counts[node]) for node in self.boxes]
        labels = {one.column: asdict(one) for one in self.agreements}
        return {"pictures": len(self.names), "boxes": len(sizes), "largest": max(sizes), "labels": labels}

    def save(self, folder: Path) -> None:
        """Writes `boxes.csv`, `pictures.csv` and `collection.safetensors`, each atomically."""
        super().save(folder)
        groups = self.tree.groups(self.boxes).tolist()
        rows = [{"picture": name, "box": box} for name, box in zip(self.names, groups, strict=True)]
        atomic_write(folder / PICTURES, rows_csv(rows, ["picture", "box"]))

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        kept = ("method", "reading", "features", "names", "captions", "count")
        about = {name: getattr(self, name) for name in kept}
        about["agreements"] = [asdict(one) for one in self.agreements]
        about["labels"] = [{"name": one.name, "classes": one.classes} for one in self.labels]
        arrays = {
            "merges": self.tree.merges,
            "heights": self.tree.heights,
            "tiles": np.array(self.tiles, np.int64),
            "tile_medoids": np.array(self.tile_medoids, np.int64),
            "box_medoids": np.array(self.box_medoids, np.int64),
        }
        for number, one in enumerate(self.labels):
            arrays[f"codes.{number}"] = one.codes
            if one.predicted is not None:
                arrays[f"predicted.{number}"] = one.predicted
        return {name: torch.from_numpy(one.copy()) for name, one in arrays.items()}, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "CollectionMap":
        tree = MergeTree(tensors["merges"].numpy(), tensors["heights"].numpy())
        tree.check()
        labels = tuple(_column(number, one, tensors) for number, one in enumerate(about["labels"]))
        captions = tuple(None if one is None else str(one) for one in about["captions"])
        places = (tuple(tensors[name].tolist()) for name in ("tiles", "tile_medoids", "box_medoids"))
        found = cls(
            str(about["method"]), str(about["reading"]), str(about["features"]), tuple(map(str, about["names"])),
            captions, int(about["count"]), tree, labels,
            tuple(LabelAgreement(**one) for one in about["agreements"]), *places,
        )  # fmt: skip
        found._check()
        return found

    def _check(self) -> None:
        """Raises `ValueError` where the parts do not fit each other."""
        count = self.tree.leaves
        lengths = {len(self.names), len(self.captions), *(len(one.codes) for one in self.labels)}
        lengths |= {len(one.predicted) for one in self.labels if one.predicted is not None}
        if lengths != {count} or not 2 <= self.count <= count:
            raise ValueError("names, captions and labels do not fit the tree")
        covered = np.concatenate([self.tree.members(one) for one in self.tiles])
        if sorted(covered.tolist()) != list(range(count)) or len(self.tile_medoids) != len(self.tiles):
            raise ValueError("the tiles do not cover the tree")
        medoids = (*self.tile_medoids, *self.box_medoids)
        if len(self.box_medoids) != len(self.boxes) or not all(0 <= one < count for one in medoids):
            raise ValueError("the medoids do not fit the tree")


def _column(number: int, stored: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LabelColumn:
    classes = tuple(map(str, stored["classes"]))
    codes = tensors[f"codes.{number}"].numpy()
    predicted = tensors[f"predicted.{number}"].numpy() if f"predicted.{number}" in tensors else None
    if any(one is not None and ((one < -1) | (one >= len(classes))).any() for one in (codes, predicted)):
        raise ValueError("a label has no class")
    return LabelColumn(str(stored["name"]), classes, codes, predicted)
