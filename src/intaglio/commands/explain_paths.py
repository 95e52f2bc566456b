"""`intaglio explain paths METHOD`: edges between a network's filters by which a class's score comes about."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.commands.kit.network_inputs import ExplainsNetwork, class_place
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.explain.paths.family import PathFinder
    from intaglio.explain.paths.result import ClassGraph

M = TypeVar("M")
FAITHFUL = 0.9
"""Share of the pictures' calls that the graph alone must keep, below which a warning is due."""
MOST_ROWS = 30
"""Edges of the printed table."""


@dataclass(frozen=True, kw_only=True)
class ExplainPaths(ExplainsNetwork, DryRun, InRun, ReadsPictures, Generic[M]):
    """Find the edges between filters of neighbouring convolutions by which a class's score comes about.

    Give pictures of the class and of others; which is which the network tells. Every other picture of the class chooses
    the edges that are tested, the rest tests them. The graph is checked: with its edges alone, the network is asked
    again, beside as many random edges. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder, of the class and of others."""

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.paths.cost import paths_plan
        from intaglio.explain.paths.family import split_pictures
        from intaglio.explain.paths.result import FILE, GRAPH, TABLE, ClassGraph

        scored, network = self.load_network(self.device)
        images = self.load_pictures(self.images, self.side)
        called = scored.called(images.pixels).bincount()
        target = int(called.argmax()) if self.target is None else class_place(self.target, scored)
        plan = paths_plan(self._method, scored, int(called[target]) if target < len(called) else 0)
        if self.dry_run and self.ends_with(plan):
            return 0
        split_pictures(scored, images, target)  # told before a run is made
        known = {"network": network, "images": described(self.images, images.fingerprint)}
        settings = {**asdict(cast(Any, self.method)), **self.network_settings(scored, scored.classes[target])}
        with self.open_run("explain", f"paths-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in images.warnings:
                    run.warn(warning)
                found = self._method(scored, images, target, run=run)
                for words in _warnings(found):
                    run.warn(words)
                found.save(folder)
                run.finish(found.figures(), (FILE, TABLE, GRAPH))
        _report(cast("ClassGraph", ClassGraph.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "PathFinder":
        return cast("PathFinder", self.method)


def _warnings(found: "ClassGraph") -> list[str]:
    """Sentences on a graph that cannot be trusted."""
    shares = found.shares
    if not bool(found.kept.any()):
        return []  # the statement says so
    if shares["graph"] < FAITHFUL * shares["whole"]:
        return [
            f"with the graph alone the network calls {shares['graph']:.0%} of the pictures the class, in place of "
            f"{shares['whole']:.0%}: much of what it goes by is not in the graph; give a larger --screened"
        ]
    if shares["random"] >= shares["graph"]:
        return ["as many random edges keep the network's calls as well, so that the graph says nothing of its own"]
    return []


def _report(found: "ClassGraph", folder: Path) -> None:
    """Print a line an edge of the graph, and write the report."""
    from intaglio.explain.paths.result import TABLE
    from intaglio.report import write_report

    kept = [row for row in found.rows() if row["kept"]]
    rows = [(row["source"], row["target"], f"{row['effect']:.3f}", f"{row['q']:.3f}") for row in kept[:MOST_ROWS]]
    if rows:
        say(aligned([("source", "target", "effect", "q"), *rows]))
    say(f"all {len(found.edges):,} tested edges are in {folder / TABLE}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
