"""`intaglio explain surrogate METHOD`: a few features and a few rules that say what a black box says."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.commands.kit.network_inputs import ReadsNetwork
from intaglio.errors import BadInput
from intaglio.printable import aligned, one_line

if TYPE_CHECKING:
    from intaglio.explain.surrogate.black_box_rows import BlackBoxRows
    from intaglio.explain.surrogate.family import SurrogateChooser
    from intaglio.explain.surrogate.result import SurrogateRules

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class ExplainSurrogate(ReadsNetwork, DryRun, InRun, ReadsPictures, Generic[M]):
    """Say by a few rules on a few of many features what a black box says, and how much of it the rules tell.

    Give features and the black box's probabilities of the same rows as tables, or a classifier and pictures. Some
    hundred rows or more. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    features: Path | None = None
    """Features: a CSV file with a column picture of the rows' names and numbers in all others, or an .npz with names
    and features."""
    predictions: Path | None = None
    """The answers of the black box: a CSV file with a column picture of the rows' names, and probabilities in a
    column for each class."""
    images: Path | None = None
    """Folder of pictures that a classifier is asked about, in place of --features and --predictions."""
    head: str = ""
    """Head of the classifier, such as kind or artist; none takes its first."""
    layer: str = ""
    """Module of the classifier whose mean maps are the features, such as stages.3; none takes what its head takes."""

    def check_early(self) -> None:
        """Raises `BadInput` for inputs that exclude or want each other, and for files that are not there."""
        super().check_early()
        tables = {"--features": self.features, "--predictions": self.predictions}
        given = [flag for flag, path in tables.items() if path is not None]
        if self.images is None and len(given) < 2:
            raise BadInput("there are no rows; give --features and --predictions, or --images for a classifier")
        if self.images is not None and given:
            raise BadInput(f"--images has a classifier's rows, and {given[0]} others; leave one of them out")
        if self.images is None and (self.network is not None or self.head or self.layer):
            raise BadInput("--network, --head and --layer look at pictures; give these with --images")
        for flag, path in tables.items():
            if path is not None and not path.exists():
                raise BadInput(f"{path} does not exist; check the path of {flag}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.surrogate.cost import surrogate_plan
        from intaglio.explain.surrogate.result import CHANGES, FILE, RULES, TABLE, SurrogateRules

        rows, known, warnings = self._rows()
        rows.check()
        plan = surrogate_plan(self._method, rows)
        if self.dry_run and self.ends_with(plan):
            return 0
        own = {"head": self.head, "layer": self.layer, "resolution": self.side} if self.images else {}
        settings = {**asdict(cast(Any, self.method)), **own}
        with self.open_run("explain", f"surrogate-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                found = self._method(rows, run=run)
                for words in (*warnings, *found.warnings):
                    run.warn(words)
                found.save(folder)
                run.finish(found.figures(), (FILE, TABLE, RULES, CHANGES))
        _report(cast("SurrogateRules", SurrogateRules.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "SurrogateChooser":
        return cast("SurrogateChooser", self.method)

    def _rows(self) -> "tuple[BlackBoxRows, dict[str, dict[str, str]], tuple[str, ...]]":
        """The black box's rows, how a run describes them, and warnings of the pictures."""
        if self.images is not None:
            from intaglio.explain.surrogate.asked_network import network_rows

            scored, network = self.read_network(self.device, self.head)
            if self.layer:
                scored.check_layers()
                scored.layer(self.layer)
            images = self.load_pictures(self.images, self.side)
            known = {"network": network, "images": described(self.images, images.fingerprint)}
            return network_rows(scored, images, self.layer), known, tuple(images.warnings)
        from intaglio.explain.surrogate.black_box_rows import read_rows
        from intaglio.files import file_hash

        features, predictions = cast(Path, self.features), cast(Path, self.predictions)
        known = {"features": features, "predictions": predictions}
        found = {name: described(path, file_hash(path)) for name, path in known.items()}
        return read_rows(features, predictions), found, ()


def _report(found: "SurrogateRules", folder: Path) -> None:
    """Print the rules, and write the report."""
    from intaglio.report import write_report

    lines = [
        (
            one_line(row["class"]),
            f"{row['support']:.0%}",
            "-" if row["precision"] is None else f"{row['precision']:.0%}",
            one_line(row["rule"]),
        )
        for row in found.rule_rows()
    ]
    say(aligned([("class", "support", "precision", "rule"), *lines]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
