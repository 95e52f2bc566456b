"""`intaglio causal debias METHOD`: treatment effects from predicted outcomes, without their shrinkage."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import command_line, say, shown
from intaglio.commands.kit.inputs import described
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.causal.debias.family import PredictionCorrection
    from intaglio.causal.debias.result import DebiasedEffects

M = TypeVar("M")
MOST_ROWS = 40
"""Trials of the printed table."""


@dataclass(frozen=True, kw_only=True)
class CausalDebias(Generic[M]):
    """Tell treatment effects from predicted outcomes, and undo the shrinkage of the predictions.

    A table has the predictions of units that were treated or not, of one trial or many; another has outcomes that are
    known beside their predictions, of rows that the model did not learn from. The correction is checked on these by
    pseudo-trials, whose true effects are known.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    table: Path
    """The trials: a table (CSV, TSV, Parquet, Excel) with columns of predictions and of 0 and 1 for treatment."""
    calibration: Path
    """The calibration rows: a table with columns of known outcomes and of predictions."""
    outcome: str = "outcome"
    """Column of known outcomes, in --calibration."""
    prediction: str = "prediction"
    """Column of predictions, in both tables."""
    treatment: str = "treated"
    """Column of 1 for treated units and 0 for others, in --table."""
    trial: str = ""
    """Column of the trials' names, in --table; none takes all rows for one trial."""
    weight: str = ""
    """Column of the units' weights, such as inverse propensities, in --table; none weighs all alike."""
    runs: Path = Path("runs")
    """Folder that the run's own folder is made in."""

    def check_early(self) -> None:
        """Raises `BadInput` for tables that are not there."""
        for flag, path in (("--table", self.table), ("--calibration", self.calibration)):
            if not path.exists():
                raise BadInput(f"{path} does not exist; check the path of {flag}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.causal.debias.result import DebiasedEffects
        from intaglio.causal.debias.trial_rows import read_calibration, read_trials
        from intaglio.files import file_hash
        from intaglio.runs.run import Run

        calibration = read_calibration(self.calibration, self.outcome, self.prediction)
        trials = read_trials(self.table, self.prediction, self.treatment, self.trial, self.weight)
        paths = {"table": self.table, "calibration": self.calibration}
        known = {name: described(path, file_hash(path)) for name, path in paths.items()}
        columns = {name: getattr(self, name) for name in ("outcome", "prediction", "treatment", "trial", "weight")}
        settings = {**asdict(cast(Any, self.method)), **columns}
        about = {"seed": settings["seed"], "device": "cpu", "command": command_line(), "progress": shown()}
        with Run.open(self.runs, "causal", f"debias-{self._method.name}", settings, known, **about) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                found = self._method(calibration, trials, run=run)
                for warning in found.warnings:
                    run.warn(warning)
                found.save(folder)
                run.finish(found.figures(), (DebiasedEffects.file, DebiasedEffects.table))
        _report(cast("DebiasedEffects", DebiasedEffects.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "PredictionCorrection":
        return cast("PredictionCorrection", self.method)


def _report(found: "DebiasedEffects", folder: Path) -> None:
    """Print a line a trial, and write the report."""
    from intaglio.report import write_report

    rows = [
        (row["trial"], f"{row['predicted']:.3g}", f"{row['effect']:.3g}", f"{row['low']:.3g} to {row['high']:.3g}")
        for row in found.rows()[:MOST_ROWS]
    ]
    say(aligned([("trial", "as predicted", "corrected", "95%"), *rows]))
    if (left := len(found.effects) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'effects.csv'}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
