"""`intaglio bench concepts`: concepts of pictures by each method: planted ones found, labels, and weight in a score."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from intaglio.bench.concepts.concept_questions import (
    ATOMS,
    FIRST,
    part_purities,
    pooled_crops,
    purity,
    recovery,
    removal_area,
)
from intaglio.bench.kit.methods import default_methods
from intaglio.explain.concepts.family import ConceptFinder
from intaglio.files import file_hash
from intaglio.metrics.statistics.interval import interval
from intaglio.models import testbed
from intaglio.models.scored_network import classifier_score
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain concepts"
CORE = "craft"
HEAD = "kind"
PLANTED = 5
"""Planted banks."""
COUNT = 20
"""Concepts of the purity."""
PICTURES, QUICK_PICTURES = 60, 16
"""Of the class whose score concepts are removed from."""


@dataclass(frozen=True, kw_only=True)
class ConceptsBench:
    """Concepts of a classifier's layer: planted atoms found, labels, removal from a score.

    `recovery` is the mean cosine of five planted, disjoint atoms with the directions matched to them. `purity` is how
    much oftener the twenty pictures with most of a concept have one kind than all pictures, over the five strongest of
    twenty concepts, on pictures that the classifier has not seen. `removal` is the area under the score of the
    likeliest class of its pictures while concepts are removed in the order of their importance, 1 with all and 0
    without any: small where the first carry most of it; beside it stands `by size`, in the order of the mean codes.
    Intervals are of 95%, over pictures.

    A method that divides concepts is asked how far the parts of all twenty, and of the five widest, are of one kind
    each, beside whole concepts, parts by the last layer's own features, and parts at random.
    """

    explain_figures: ClassVar[tuple[str, ...]] = ("craft_recovery",)
    """Headline figures that `bench explain` tells too."""

    quick: bool = False
    """16 pictures of the class: a minute or two."""
    seed: int = 0
    """Of banks and methods, from 0."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        methods: dict[str, ConceptFinder] = default_methods(VERB, seed=self.seed, divided=FIRST)
        settings = {"pictures": self._pictures, "methods": {name: asdict(one) for name, one in methods.items()}}
        inputs = {"classifier": {"path": "testbed", "sha256": file_hash(testbed.classifier_path())}}
        about: dict[str, Any] = {"seed": self.seed, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "concepts", settings, inputs, **about) as run:
            if run.status != "done":
                self._measure(methods, run)
                run.finish(figures_of(run.recorded("row"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("row", "recovery", "purity", "removal", "by size")
        lines = [
            (
                name,
                f"{one['recovery']:.3f}",
                f"{one['purity']:.2f}",
                "{:.2f} ({:.2f} to {:.2f})".format(one["removal"], *one["interval"]),
                f"{one['by_size']:.2f}",
            )
            for name, one in figures["rows"].items()
        ]
        parted = [_part_line(name, one["parts"]) for name, one in figures["rows"].items() if one["parts"]]
        told = ("parts of", "whole", "by the earlier layer", "by the same layer", "at random")
        return aligned([head, *lines]) + ("\n\n" + aligned([told, *chain(*parted)]) if parted else "")

    @property
    def _pictures(self) -> int:
        return QUICK_PICTURES if self.quick else PICTURES

    def _measure(self, methods: Mapping[str, ConceptFinder], run: Run) -> None:
        left = [name for name in methods if name not in run.recorded("row")]
        with run.progress(len(methods), "rows", len(methods) - len(left)) as progress:
            for name in left:
                run.record("row", name, measured(methods[name], self._pictures, self.seed))
                progress.advance()


def measured(method: ConceptFinder, count: int, seed: int) -> dict[str, Any]:
    """All figures of one method."""
    scored = classifier_score(testbed.classifier(), HEAD)
    layer = scored.layers[-1]
    unseen, told = testbed.held_out_pictures()
    features, places = pooled_crops(scored, layer, unseen, method.batch)
    labels = [one.get(HEAD, "") for one in told]
    images = testbed.real_pictures()
    called = scored.called(images.pixels)
    target = int(called.bincount().argmax())
    own = images[[int(k) for k in (called == target).nonzero()[:count, 0]]]
    found = method(scored, own, target)
    mean = np.abs(method.codes(pooled_crops(scored, layer, own, method.batch)[0], found.bank.double().numpy())).mean(0)
    by_size = found.bank[np.argsort(-mean, kind="stable").tolist()]
    small, wide = replace(method, count=ATOMS), replace(method, count=COUNT)
    division, parts = method.division, None
    if division:
        early = pooled_crops(scored, division.layer_before(scored, layer), unseen, method.batch)[0]
        parts = part_purities(wide, division, features, early, places, labels, seed)
    return {
        "recovery": [recovery(small, seed + k) for k in range(PLANTED)],
        "purity": purity(wide, features, places, labels),
        "parts": parts,
        "removal": removal_area(scored, layer, own, target, method, found.bank),
        "by_size": removal_area(scored, layer, own, target, method, by_size),
    }


def figures_of(recorded: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row."""
    rows = {name: _row(found) for name, found in recorded.items()}
    flat = {f"{what}_{name}": one[what] for name, one in rows.items() for what in ("recovery", "purity", "removal")}
    about = {"seconds": seconds, "machine": machine(), "versions": versions()}
    return {"craft_recovery": rows[CORE]["recovery"] if CORE in rows else None, **flat, **about, "rows": rows}


def _part_line(name: str, parts: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    whats = ("whole", "parts", "same_layer", "by_chance")
    return [(f"{name}, {which}", *(f"{one[what]:.3f}" for what in whats)) for which, one in parts.items()]


def _row(found: Mapping[str, Any]) -> dict[str, Any]:
    means = {name: float(np.mean(found[name])) for name in ("recovery", "purity", "removal", "by_size")}
    parts = found["parts"]
    shares = parts and {
        name: {what: float(np.mean(values[:first])) for what, values in parts.items()}
        for name, first in (("all", None), ("widest", FIRST))
    }
    return {
        **means,
        "parts": shares,
        "interval": list(interval(lambda drawn: drawn.mean(-1), [np.array(found["removal"])])),
    }
