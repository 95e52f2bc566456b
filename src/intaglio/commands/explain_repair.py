"""`intaglio explain repair METHOD`: a classifier changed so that a known shortcut moves its scores no more."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.commands.kit.network_inputs import ScoresByNetwork
from intaglio.errors import BadInput
from intaglio.printable import aligned, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from intaglio.explain.repairs.family import ShortcutRepair
    from intaglio.explain.repairs.result import RepairedClassifier
    from intaglio.images.folder import Listing

M = TypeVar("M")
MOST_ROWS = 20
"""Cut edges of the printed table."""


@dataclass(frozen=True, kw_only=True)
class ExplainRepair(ScoresByNetwork, DryRun, InRun, ReadsPictures, Generic[M]):
    """Change a classifier so that a known shortcut, such as a mark in a corner, moves a class's score less.

    Give pictures with their true classes and the shortcut's value, each class with both values: one half chooses the
    change, the other half judges it. `explain slices` finds what a shortcut may be. The run's folder has the changed
    classifier, repaired.safetensors, which `--network` of other commands takes. The same command again goes on where a
    killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder."""
    labels: Path
    """Classes and shortcut of the pictures: a CSV file with a column picture and these."""
    shortcut: str
    """Column of the labels with the shortcut, of two values, such as yes and no; pictures with an empty cell are left
    out."""
    column: str = ""
    """Column of the true classes; empty takes that of the head's name."""
    group: str = ""
    """Column of the labels by which pictures belong together, such as twins of one name; none are in both halves."""

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for a table that does not fit the pictures' names."""
        from intaglio.explain.picture_columns import read_labels

        if not self.skip_bad:
            found = read_labels(self.labels, [entry.name for entry in listed["images"].entries])
            self._check_columns(found, self.column)

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.repairs.cost import repair_plan
        from intaglio.explain.repairs.family import own_classifier
        from intaglio.explain.repairs.result import RepairedClassifier
        from intaglio.files import file_hash

        scored, network = self.load_network(self.device)
        own = own_classifier(scored)
        images = self.load_pictures(self.images, self.side)
        truth, shortcut, groups = self._texts(images.names, own.head)
        rows, _, _ = self._method.told(own, images, truth, shortcut, self.shortcut)  # before a run is made
        plan = repair_plan(self._method, own, len(rows))
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {"network": network, "images": described(self.images, images.fingerprint)}
        known |= {"labels": described(self.labels, file_hash(self.labels))}
        columns = {"column": self.column or own.head, "shortcut": self.shortcut, "group": self.group}
        about = {"head": own.head, "score": self.score, "resolution": self.side, **columns}
        settings = {**asdict(cast(Any, self.method)), **about}
        with self.open_run("explain", f"repair-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in images.warnings:
                    run.warn(warning)
                found = self._method(own, images, truth, shortcut, groups, column=self.shortcut, run=run)
                run.finish(found.result.figures(), found.save(folder))
        _report(cast("RepairedClassifier", RepairedClassifier.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "ShortcutRepair":
        return cast("ShortcutRepair", self.method)

    def _texts(self, names: "Sequence[str]", head: str) -> "tuple[list[str], list[str], list[str] | None]":
        """Classes, shortcut and groups of the pictures. Raises `BadInput` for columns that there are not."""
        from intaglio.explain.picture_columns import read_labels

        found, column = read_labels(self.labels, names), self.column or head
        self._check_columns(found, column)
        return found[column], found[self.shortcut], found[self.group] if self.group else None

    def _check_columns(self, found: "Mapping[str, list[str]]", column: str) -> None:
        """Raises `BadInput` for columns that there are not, and one that is both."""
        for flag, name in {"--column": column, "--shortcut": self.shortcut, "--group": self.group}.items():
            if name and name not in found:
                few = ", ".join(one_line(one) for one in found)
                raise BadInput(f"{self.labels} has no column {one_line(name)} for {flag}; it has: {few}")
        if column == self.shortcut:
            raise BadInput(f"the true classes and the shortcut are both in {one_line(self.shortcut)}; name two columns")


def _report(found: "RepairedClassifier", folder: Path) -> None:
    """Print a line a cell and the edges that were cut first, and write the report."""
    from intaglio.explain.repairs.family import NETWORK
    from intaglio.report import write_report

    rows = [
        (one_line(row["label"]), one_line(row["shortcut"]), str(row["pictures"]), *_right(row)) for row in found.rows()
    ]
    say(aligned([(one_line(found.head), one_line(found.column), "pictures", "before", "after"), *rows]))
    if found.cut:
        say()
        cut = [(source, target, f"{effect:.3f}") for source, target, effect in found.cut[:MOST_ROWS]]
        say(aligned([("cut: source", "target", "effect"), *cut]))
        if len(found.cut) > MOST_ROWS:
            say(f"and {len(found.cut) - MOST_ROWS} more")
    say()
    say(found.statement)
    say(f"the changed classifier is {folder / NETWORK}")
    say(str(write_report(folder)))


def _right(row: dict[str, Any]) -> tuple[str, str]:
    return f"{row['before']:.2f}", f"{row['after']:.2f}"
