"""`intaglio causal transfer METHOD`: outcomes in an environment that was not learnt from."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.feature_inputs import ReadsFeatures
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.commands.kit.unit_features import unit_pictures, with_unit_features
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.causal.transfer.environment_rows import EnvironmentRows
    from intaglio.causal.transfer.family import EnvironmentTransfer
    from intaglio.causal.transfer.result import TransferPredictions

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class CausalTransfer(ReadsFeatures, DryRun, InRun, ReadsPictures, Generic[M]):
    """Predict classes in an environment that was not learnt from, before and after its rows are known.

    Rows are told by columns of numbers, by their pictures, as an encoder or a classifier's layer sees them, or by given
    features. Known outcomes of the target judge the predictions; with --labelled so many of them, drawn by the seed,
    are learnt from, and judge no more. Outcomes are classes; numbers are taken as classes too. The same command again
    goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    table: Path
    """The rows: a table (CSV, TSV, Parquet, Excel)."""
    environment: str
    """Column of the environment that each row is of."""
    outcome: str
    """Column of classes; cells of the target may be empty."""
    target: str
    """The environment that is predicted, whose outcomes are not learnt from but for --labelled of them."""
    covariates: tuple[str, ...] = ()
    """Columns of numbers to predict from, beside pictures or in place of them."""
    images: Path | None = None
    """Folder of the rows' pictures, named as --unit names the rows; without it, give --covariates or --features."""
    unit: str = ""
    """Column of the rows' names, all different; a row's picture has its name, with or without suffix. Empty numbers the
    rows from 1."""

    def check_early(self) -> None:
        """Raises `BadInput` for a table that is not there, and for inputs that exclude or want each other."""
        if not self.table.exists():
            raise BadInput(f"{self.table} does not exist; check the path of --table")
        self.check_source()
        if self.images is None and self.features is None and not self.covariates:
            raise BadInput("there is nothing to predict from; give --covariates, --images or --features")
        if self.images is None and (self.network is not None or self.similarity != "embedded"):
            raise BadInput("--network and --similarity look at pictures; give them with --images")
        if not self.unit and (self.images is not None or self.features is not None):
            raise BadInput("pictures and features are found by the rows' names; give their column as --unit")
        if asked := {self.environment, self.outcome} & {*self.covariates}:
            raise BadInput(f"column {asked.pop()} is what is predicted or held out; leave it out of --covariates")
        if self.environment == self.outcome:
            raise BadInput("--environment and --outcome are the same column; give two")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.causal.transfer.cost import transfer_plan
        from intaglio.causal.transfer.environment_rows import held_out
        from intaglio.causal.transfer.result import FILE, TABLE, TransferPredictions
        from intaglio.files import file_hash

        rows, known = self._rows()
        task = held_out(rows, self.target)
        task.labelled(self._method.labelled, self._method.seed)
        plan = transfer_plan(self._method, task)
        if self.dry_run and self.ends_with(plan):
            return 0
        known["table"] = described(self.table, file_hash(self.table))
        asked = ("environment", "outcome", "target", "covariates", "unit", "layer")
        settings = {**asdict(cast(Any, self.method)), **{name: getattr(self, name) for name in asked}}
        with self.open_run("causal", f"transfer-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                found = self._method(rows, self.target, run=run)
                for warning in found.warnings:
                    run.warn(warning)
                found.save(folder)
                self._method.forget(task, run)
                run.finish(found.figures(), (FILE, TABLE))
        _report(cast("TransferPredictions", TransferPredictions.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "EnvironmentTransfer":
        return cast("EnvironmentTransfer", self.method)

    def _rows(self) -> "tuple[EnvironmentRows, dict[str, dict[str, str]]]":
        """The rows with all their features, and how a run describes these."""
        from intaglio.causal.transfer.environment_rows import read_rows

        rows = read_rows(self.table, self.environment, self.outcome, self.unit, self.covariates)
        images = None
        if self.images is not None:
            images = unit_pictures(self.load_pictures(self.images, self.side), self.images, rows.names)
        stacked, known = with_unit_features(self, rows.features, rows.names, images, self.images, self.device)
        return replace(rows, features=stacked), known


def _report(found: "TransferPredictions", folder: Path) -> None:
    """Print the accuracy of each stage and of each environment held out, and write the report."""
    from intaglio.report import write_report

    rows = [(found.target, stage, f"{one:.1%}") for stage, one in found.accuracy.items()]
    rows += [(one.environment, "from the others", f"{one.accuracy:.1%}") for one in found.left_out]
    if rows:
        say(aligned([("held out", "stage", "right"), *rows]))
        say()
    say(found.statement)
    say(str(write_report(folder)))
