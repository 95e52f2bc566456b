"""`intaglio bench paths`: class graphs of two halves of the pictures, and a planted shortcut whose edges are cut."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.bench.kit.marked_pictures import CLASSES, CorneredPictures, marked_pictures
from intaglio.bench.kit.methods import default_methods
from intaglio.explain.filter_chain import FilterEdge
from intaglio.explain.paths.family import PathFinder
from intaglio.explain.paths.result import ClassGraph
from intaglio.explain.repairs.family import ShortcutRepair
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.mean_interval import mean_interval
from intaglio.models.scored_network import ScoredClassifier
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.picture_batches import content_order
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

TRAININGS, QUICK_TRAININGS = 8, 3
SCREENED = 200
"""Edges of each layer that are tested for a class graph."""
FIGURES = ("worst", "mean", "kept", "gap", "cut", "seconds")
METHOD = "cut-edges"


@dataclass(frozen=True, kw_only=True)
class PathsBench:
    """Edges between filters: graphs of a class found twice, and edges of a planted shortcut cut.

    A small classifier learns Noto from other artists on pictures of which 95% have a red corner exactly where they are
    Noto's; other pictures, of which 70% have it so, choose the repairs. `worst` is the accuracy on further pictures,
    each with the corner and without, of the worst of the four cells of class and corner, `mean` that of all, and
    `kept` the mean of the two cells where class and corner agree, which a repair may cost. `gap` is what is left of the
    corner's effect on the score, of 1, and `cut` the share of edges that are cut. `gain` is the interval of the rise of
    `worst`, 95%, of pairs of before and after over trainings.

    For class graphs, `overlap` is the Jaccard index of the graphs of two halves of the pictures, `chance` that of as
    many random edges among those tested, and `graph` the share of calls of Noto that the edges of one half's graph keep
    by themselves, beside those that as many random edges do.
    """

    quick: bool = False
    """3 trainings; about three minutes."""
    trainings: int = 8
    """Trainings of the classifier, each with marks of its own, at least 2, with --quick at most 3."""
    seed: int = 0
    """Of the first training, from 0; the others have the next ones."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.trainings < 2:
            raise ValueError(f"trainings must be at least 2, not {self.trainings}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows` and `graphs`."""
        count = min(self.trainings, QUICK_TRAININGS) if self.quick else self.trainings
        used = {**self._repairs(), **self._finders()}
        settings = {"trainings": count, "methods": {name: asdict(one) for name, one in used.items()}}
        about: dict[str, Any] = {"seed": self.seed, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "paths", {**settings, "seed": self.seed}, {}, **about) as run:
            if run.status != "done":
                self._measure(count, run)
                run.finish(figures_of(list(run.recorded("training").values()), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as tables."""
        head = ("repair", "worst", "gain, 95%", "mean", "kept", "gap left", "cut")
        before = figures["before"]
        lines: list[tuple[str, ...]] = [
            ("before", f"{before['worst']:.2f}", "", f"{before['mean']:.2f}", f"{before['kept']:.2f}", "1.00", "")
        ]
        for name, one in figures["rows"].items():
            gain = "{:+.2f} to {:+.2f}".format(*one["gain"])
            told = (f"{one[key]:.2f}" for key in ("mean", "kept", "gap"))
            lines.append((name, f"{one['worst']:.2f}", gain, *told, f"{one['cut']:.1%}"))
        keys = ("overlap", "chance", "graph", "random")
        graphs = [(name, *(f"{one[key]:.2f}" for key in keys)) for name, one in figures["graphs"].items()]
        return f"{aligned([head, *lines])}\n\n{aligned([('class graph', *keys), *graphs])}"

    def _repairs(self) -> dict[str, ShortcutRepair]:
        return default_methods("explain repair", seed=self.seed)

    def _finders(self) -> dict[str, PathFinder]:
        return default_methods("explain paths", seed=self.seed, screened=SCREENED)

    def _measure(self, count: int, run: Run) -> None:
        known = run.recorded("training")
        with run.progress(count, "trainings", len(known)) as progress:
            for seed in range(self.seed, self.seed + count):
                if str(seed) not in known:
                    pictures = marked_pictures(seed)
                    repairs = {name: repaired(pictures, one) for name, one in self._repairs().items()}
                    graphs = {
                        name: halved(one, pictures.scored, pictures.images) for name, one in self._finders().items()
                    }
                    before = by_cell(pictures.further(pictures.scored.network))
                    run.record("training", str(seed), {"before": before, "rows": repairs, "graphs": graphs})
                    progress.advance()


def repaired(pictures: CorneredPictures, method: ShortcutRepair) -> dict[str, float]:
    """Accuracies on further pictures of a repaired classifier, and the gap that is left on those that judge."""
    began = time.monotonic()
    corner = np.where((np.array(pictures.truth) == CLASSES[0]) != pictures.astray, "red", "plain").tolist()
    found = method(pictures.scored, pictures.images, pictures.truth, corner, column="corner")
    told = found.result
    gap = abs(told.gap.after / told.gap.before)
    rates = by_cell(pictures.further(found.network))
    return {**rates, "gap": gap, "cut": told.share, "seconds": time.monotonic() - began}


def by_cell(accuracies: Mapping[tuple[str, bool], float]) -> dict[str, float]:
    """The worst, the mean, and the mean of the cells where class and corner agree."""
    agreeing = [one for (name, marked), one in accuracies.items() if (name == CLASSES[0]) == marked]
    every = list(accuracies.values())
    return {"worst": min(every), "mean": float(np.mean(every)), "kept": float(np.mean(agreeing))}


def halved(method: PathFinder, scored: ScoredClassifier, images: ImageSet) -> dict[str, float]:
    """Agreement of the graphs of two halves of the pictures, and the share of the calls that the first one keeps."""
    order = content_order(images)
    graphs = [method(scored, images[order[k::2]], 0) for k in range(2)]
    first, second = (_kept(one) for one in graphs)
    either = len({*graphs[0].edges, *graphs[1].edges})
    shared = len(first) * len(second) / either
    whole = max(graphs[0].shares["whole"], 1e-9)
    return {
        "overlap": len(first & second) / max(len(first | second), 1),
        "chance": shared / max(len(first) + len(second) - shared, 1),
        "graph": graphs[0].shares["graph"] / whole,
        "random": graphs[0].shares["random"] / whole,
    }


def _kept(graph: ClassGraph) -> set[FilterEdge]:
    return {edge for edge, kept in zip(graph.edges, graph.kept.tolist(), strict=True) if kept}


def figures_of(trainings: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Headline figures, then every row."""
    rows = {}
    for name in trainings[0]["rows"]:
        told = {key: float(np.mean([one["rows"][name][key] for one in trainings])) for key in FIGURES}
        gains = [one["rows"][name]["worst"] - one["before"]["worst"] for one in trainings]
        rows[name] = {**told, "gain": list(mean_interval(gains))}
    before = {key: float(np.mean([one["before"][key] for one in trainings])) for key in trainings[0]["before"]}
    graphs = {
        name: {key: float(np.mean([one["graphs"][name][key] for one in trainings])) for key in first}
        for name, first in trainings[0]["graphs"].items()
    }
    main = rows[METHOD]
    flat = {"worst_before": before["worst"], **{key: main[key] for key in ("worst", "kept", "gap", "cut")}}
    flat |= {f"worst_{name.replace('-', '_')}": one["worst"] for name, one in rows.items() if name != METHOD}
    flat |= {"kept_before": before["kept"], "overlap": graphs["interventions"]["overlap"]}
    about = {"seconds": seconds, "machine": machine(), "versions": versions()}
    return {**flat, **about, "before": before, "rows": rows, "graphs": graphs}
