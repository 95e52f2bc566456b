"""`intaglio bench collection`: how pure the boxes of a map are of labels that it was not made from."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.bench.kit.methods import default_methods
from intaglio.errors import BadInput
from intaglio.explain.collection.family import CollectionMapper
from intaglio.explain.collection.label_agreement import UNKNOWN, LabelColumn, agreement_of, of_commonest
from intaglio.explain.picture_features import EncodedFeatures, FeatureSource, LayerFeatures
from intaglio.files import file_hash
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.encoder import load_encoder
from intaglio.metrics.similarity.measures import Embedding
from intaglio.metrics.statistics.interval import interval
from intaglio.models import testbed
from intaglio.models.scored_network import classifier_score
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain collection"
CORE = "dendromap"
ENCODER, CLASSIFIER = "encoder", "classifier"
LABELS = ("artist", "kind")
MOST, QUICK = 223, 100
"""Pictures there are, and of --quick."""


@dataclass(frozen=True, kw_only=True)
class CollectionBench:
    """Boxes of maps against labels that they were not made from: purity, chance, mutual information.

    Pictures of all four artists, of subjects that no embedded classifier has seen, are arranged by descriptors of the
    embedded encoder and by what the embedded classifier's heads take. `purity` is the share of pictures with the
    commonest label of their box, artist or kind, with its 95% interval by resampling pictures, boxes and their labels
    being as they are; `chance` is that of random boxes of the same sizes, and `information` the adjusted mutual
    information, 0 for random boxes. `ahead` is the paired difference of dendromap's purity to each other method's on
    the same features.
    """

    quick: bool = False
    """100 pictures; under a minute."""
    boxes: int = 16
    """Boxes K, 2 to 64."""
    pictures: int = 223
    """Pictures to arrange, 64 to 223, with --quick at most 100."""
    seed: int = 0
    """Of starts, projections and random boxes, from 0."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if not 2 <= self.boxes <= 64:
            raise ValueError(f"boxes must be 2 to 64, not {self.boxes}")
        if not 64 <= self.pictures <= MOST:
            raise ValueError(f"pictures must be 64 to {MOST}, not {self.pictures}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        methods: dict[str, CollectionMapper] = default_methods(VERB, seed=self.seed, boxes=self.boxes)
        images, labels = chosen_pictures(self._pictures)
        settings = {"pictures": self._pictures, "methods": {name: asdict(one) for name, one in methods.items()}}
        paths = {"similarity": testbed.encoder_path(), "classifier": testbed.classifier_path()}
        inputs = {name: {"path": "testbed", "sha256": file_hash(path)} for name, path in paths.items()}
        about: dict[str, Any] = {"seed": self.seed, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "collection", settings, inputs, **about) as run:
            if run.status != "done":
                self._measure(methods, images, run)
                run.finish(figures_of(run.recorded("row"), images.names, labels, self.seed, run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("row", *(f"{label} {what}" for label in LABELS for what in ("purity", "chance", "information")))
        rows = figures["rows"].items()
        lines = [(name, *(word for label in LABELS for word in _words(row[label]))) for name, row in rows]
        return aligned([head, *lines])

    @property
    def _pictures(self) -> int:
        return min(self.pictures, QUICK) if self.quick else self.pictures

    def _measure(self, methods: Mapping[str, CollectionMapper], images: ImageSet, run: Run) -> None:
        sources = feature_sources()
        rows = [(f"{name} {kind}", name, kind) for kind in sources for name in methods]
        left = [row for row in rows if row[0] not in run.recorded("row")]
        with run.progress(len(rows), "rows", len(rows) - len(left)) as progress:
            for row, name, kind in left:
                began = time.monotonic()
                found = methods[name](sources[kind], images)
                groups = dict(zip(found.names, found.tree.groups(found.boxes).tolist(), strict=True))
                run.record("row", row, {"boxes": groups, "seconds": time.monotonic() - began})
                progress.advance()


def chosen_pictures(count: int) -> tuple[ImageSet, dict[str, list[str]]]:
    """Every so-many-th of the held-out pictures by name, and their labels by column, empty where they have none."""
    images, told = testbed.held_out_pictures()
    if count > len(images):
        raise BadInput(f"there are {len(images)} pictures, not {count}; give fewer --pictures")
    places = [place * len(images) // count for place in range(count)]
    return images[places], {label: [told[place].get(label, "") for place in places] for label in LABELS}


def feature_sources() -> dict[str, FeatureSource]:
    """Features of the embedded encoder and of the embedded classifier."""
    network = load_encoder(testbed.encoder_path())
    encoder = Embedding("embedded", file_hash(testbed.encoder_path()), network, next(network.parameters()).device)
    classifier = testbed.classifier()
    scored = classifier_score(classifier, next(iter(classifier.classes)))
    return {ENCODER: EncodedFeatures(encoder), CLASSIFIER: LayerFeatures(scored)}


def figures_of(
    recorded: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    """Headline figures, then every row."""
    columns = {label: LabelColumn.of(label, list(texts)) for label, texts in labels.items()}
    boxes = {row: np.array([one["boxes"][name] for name in names]) for row, one in recorded.items()}
    rows = {row: _row_of(found, columns, seed) | {"seconds": recorded[row]["seconds"]} for row, found in boxes.items()}
    flat = {
        f"{what}_{label}_{row.replace(' ', '_')}": one[label][what]
        for row, one in rows.items()
        for label in columns
        for what in ("purity", "information")
    }
    ahead = {
        row: {label: _difference(boxes[f"{CORE} {row.split()[1]}"], found, columns[label]) for label in columns}
        for row, found in boxes.items()
        if row.split()[0] != CORE
    }
    about = {"seconds": seconds, "machine": machine(), "versions": versions()}
    return {**flat, "ahead": ahead, **about, "rows": rows}


def _row_of(boxes: Int[ndarray, "n"], columns: Mapping[str, LabelColumn], seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"largest": int(np.bincount(boxes).max())}
    for label, column in columns.items():
        agreement = agreement_of(boxes, column, seed)
        if agreement is not None:
            found[label] = {**asdict(agreement), "interval": _ends(_hits(boxes, column))}
    return found


def _hits(boxes: Int[ndarray, "n"], column: LabelColumn) -> Float[ndarray, "m"]:
    """1 for each picture of a known label that has the commonest of its box, else 0."""
    known = column.codes != UNKNOWN
    return of_commonest(boxes[known], column.codes[known]).astype(np.float64)


def _difference(mine: Int[ndarray, "n"], other: Int[ndarray, "n"], column: LabelColumn) -> dict[str, Any]:
    """Purity of my boxes less that of the others', with its interval over the same pictures."""
    apart = _hits(mine, column) - _hits(other, column)
    return {"difference": float(apart.mean()), "interval": _ends(apart)}


def _ends(values: Float[ndarray, "m"]) -> tuple[float, float]:
    return interval(lambda drawn: drawn.mean(-1), [values])


def _words(row: Mapping[str, Any]) -> tuple[str, str, str]:
    low, high = row["interval"]
    return f"{row['purity']:.3f} ({low:.3f} to {high:.3f})", f"{row['chance']:.3f}", f"{row['information']:.3f}"
