"""`intaglio causal cate METHOD`: which units of a randomised trial gain more, told from pictures or numbers of them."""

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
    from intaglio.causal.cate.family import EffectLearner
    from intaglio.causal.cate.result import UnitEffects
    from intaglio.images.image_set import ImageSet
    from intaglio.runs.run import Run

M = TypeVar("M")
SHOWN = 6
"""Pictures of the units ranked first, and last, that are stored."""


@dataclass(frozen=True, kw_only=True)
class CausalCate(ReadsFeatures, DryRun, InRun, ReadsPictures, Generic[M]):
    """Predict the effect of a treatment on each unit of a randomised trial, and tell whether the ranking holds.

    Units are told apart by their pictures, as an encoder or a classifier's layer sees them, by given features, or by
    columns of the table. Each unit's effect is predicted from others, and AUTOC says with its interval whether those
    ranked first gain more. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    table: Path
    """The units: a table (CSV, TSV, Parquet, Excel) with a row each."""
    images: Path | None = None
    """Folder of the units' pictures, named as the units are; without it, give --features or --covariates."""
    unit: str = "picture"
    """Column of the units' names; a unit's picture has its name, with or without suffix."""
    outcome: str = "outcome"
    """Column of outcomes."""
    treatment: str = "treated"
    """Column of 1 for treated units and 0 for others."""
    propensity: str = ""
    """Probability of treatment by design: a column, or a number above 0 and below 1 for all units; none takes the share
    of treated units, which is right where each had the same."""
    covariates: tuple[str, ...] = ()
    """Columns of numbers that units are told apart by, beside their pictures or in place of them."""

    def check_early(self) -> None:
        """Raises `BadInput` for a table that is not there, and for inputs that exclude or want each other."""
        if not self.table.exists():
            raise BadInput(f"{self.table} does not exist; check the path of --table")
        self.check_source()
        if self.images is None and self.features is None and not self.covariates:
            raise BadInput("nothing tells units apart; give --images, --features or --covariates")
        if self.images is None and (self.network is not None or self.similarity != "embedded"):
            raise BadInput("--network and --similarity look at pictures; give them with --images")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.causal.cate.cost import cate_plan
        from intaglio.causal.cate.result import FILE, TABLE, UnitEffects
        from intaglio.causal.cate.trial_units import TrialColumns, read_units
        from intaglio.files import file_hash

        columns = TrialColumns(self.unit, self.outcome, self.treatment, self.propensity, self.covariates)
        units = read_units(self.table, columns)
        images = None
        if self.images is not None:
            images = unit_pictures(self.load_pictures(self.images, self.side), self.images, units.names)
        stacked, known = with_unit_features(self, units.features, units.names, images, self.images, self.device)
        units = replace(units, features=stacked)
        units.check()
        plan = cate_plan(self._method, units)
        if self.dry_run and self.ends_with(plan):
            return 0
        known["table"] = described(self.table, file_hash(self.table))
        settings = {**asdict(cast(Any, self.method)), **asdict(columns), "layer": self.layer}
        with self.open_run("causal", f"cate-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                found = self._method(units, run=run)
                for warning in (*(images.warnings if images is not None else ()), *found.warnings):
                    run.warn(warning)
                if images is not None:
                    _save_pictures(found, images, run)
                found.save(folder)
                run.finish(found.figures(), (FILE, TABLE))
        _report(cast("UnitEffects", UnitEffects.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "EffectLearner":
        return cast("EffectLearner", self.method)


def _save_pictures(found: "UnitEffects", images: "ImageSet", run: "Run") -> None:
    """Store the pictures of the units ranked first and last."""
    place = {name: k for k, name in enumerate(found.names)}
    for kind, rows in found.ends(SHOWN).items():
        for k, row in enumerate(rows):
            run.save_image(f"{kind}-{k}", images.pixels[place[row["unit"]]])


def _report(found: "UnitEffects", folder: Path) -> None:
    """Print the advantage of shares that are treated first, and write the report."""
    from intaglio.report import write_report

    rows = [(f"{share:.0%}", f"{mean:.3g}", f"{ahead:.3g}") for share, mean, ahead in found.shares()]
    say(aligned([("ranked first", "mean effect", "above all"), *rows]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
