"""`intaglio audit inference METHOD`: answers of a classifier that runs elsewhere, and those that are not its own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.idle_flags import refuse_idle
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described, short_number
from intaglio.commands.kit.picture_sides import check_resolution
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.audit.inference.class_answers import Answers
    from intaglio.audit.inference.family import ResultCheck
    from intaglio.audit.inference.fitted_check import FittedCheck
    from intaglio.audit.inference.result import CheckedAnswers
    from intaglio.images.image_set import ImageSet
    from intaglio.models.classifiers import PictureClassifier
    from intaglio.runs.run import Run

M = TypeVar("M")
MOST_ROWS = 40
"""Answers of the printed table."""
FITTED = "check"
"""Folder, in that of the run, of what was fitted."""


class _Check(NamedTuple):
    """A check before its run: an earlier fit, or what it takes to make one."""

    method: "ResultCheck"
    head: str
    classes: tuple[str, ...]
    side: int
    """Of the pictures, pixels."""
    inputs: dict[str, dict[str, str]]
    """Of the run."""
    fitted: "FittedCheck | None"
    service: "PictureClassifier | None" = None
    known: "ImageSet | None" = None

    def fit(self, run: "Run") -> "FittedCheck":
        """The fit, made where there is none."""
        if self.fitted is not None:
            return self.fitted
        service, known = cast("PictureClassifier", self.service), cast("ImageSet", self.known)
        return self.method.fit(service, self.head, known, run=run)


@dataclass(frozen=True, kw_only=True)
class AuditInference(DryRun, InRun, ReadsPictures, Generic[M]):
    """Tell which answers of a classifier that runs elsewhere are not what the classifier would have answered.

    A small student of the classifier is asked the same. How far an answer lies from the student's is compared with the
    classifier's own answers to pictures that are held out, which gives the rate at which clean answers fail. The same
    command again resumes one that was killed; what was fitted is kept in the run's folder, and --fitted takes it from
    there.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures that were asked about: a folder or a file."""
    answers: Path
    """The answers: a CSV file with a column picture, which has their files' names, and one of probabilities for each
    class of the head, in at least four decimals."""
    known: Path | None = None
    """Folder of other pictures of the same kind, some hundred, of which the student learns and a quarter is held out;
    400 or more for a rate of 1 %."""
    classifier: Path | None = None
    """The classifier as it should be, a .safetensors file that Intaglio wrote; none takes the embedded one of kinds and
    artists of emoji."""
    head: str = "kind"
    """Head of the classifier that was asked, such as kind or artist."""
    fitted: Path | None = None
    """Folder check of an earlier run, in place of --known and --classifier; its settings are taken."""
    fpr: float = 0.01
    """Share of clean answers that may fail, at most; above 0 and below 1."""
    resolution: int = 64
    """Pixels of a side to which pictures are read, from 16; the classifier's own."""

    picture_folders: ClassVar[tuple[str, ...]] = ("images", "known")

    def __post_init__(self) -> None:
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr must lie between 0 and 1, not {self.fpr}")
        check_resolution(self.resolution)

    def check_early(self) -> None:
        """Raises `BadInput` for files that are not there, and for known pictures that are lacking or of no use."""
        if self.fitted is not None:
            refuse_idle(self, ("known", "classifier", "head", "resolution"), "the fit of --fitted has its own")
        elif self.known is None:
            raise BadInput("give other pictures of the same kind with --known, or what was fitted with --fitted")
        for path, flag in ((self.answers, "--answers"), (self.classifier, "--classifier")):
            if path is not None and not path.is_file():
                raise BadInput(f"{path} does not exist; check the path of {flag}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.inference.class_answers import read_answers
        from intaglio.audit.inference.cost import check_plan
        from intaglio.audit.inference.result import CheckedAnswers
        from intaglio.files import file_hash

        check = self._stored(self.fitted) if self.fitted is not None else self._given()
        method, head = check.method, check.head
        images = self.load_pictures(self.images, check.side)
        answers = read_answers(self.answers, check.classes, images.names)
        plan = check_plan(method, check.service, head, len(check.known or ()), len(images), check.side)
        if self.dry_run and self.ends_with(plan):
            return 0
        inputs = {
            **check.inputs,
            "images": described(self.images, images.fingerprint),
            "answers": described(self.answers, file_hash(self.answers)),
        }
        settings = {**asdict(method), "fpr": self.fpr, "head": head, "side": check.side}
        with self.open_run("audit", f"inference-{method.name}", settings, inputs, seed=method.seed) as run:
            if run.status != "done":
                self.begin(run, plan)
                for warning in dict.fromkeys((*images.warnings, *(check.known.warnings if check.known else ()))):
                    run.warn(warning)
                self._check(method, check.fit(run), images, answers, run)
        folder = Path(run.folder or ".")
        _report(cast(CheckedAnswers, CheckedAnswers.load(folder)), folder)
        return 0

    def _stored(self, folder: Path) -> "_Check":
        """An earlier fit, and the method with the settings of then."""
        from intaglio.audit.inference.fitted_check import FittedCheck

        method = cast("ResultCheck", self.method)
        fitted = FittedCheck.load(folder, method.name)
        try:
            method = replace(method, **_own(fitted.settings))
        except (TypeError, ValueError) as error:
            raise BadInput(f"{folder} has settings that {method.name} does not take ({error}); fit again") from None
        inputs = {"fitted": described(folder, fitted.hash)}
        return _Check(method, fitted.head, fitted.classes, fitted.size[0], inputs, fitted)

    def _given(self) -> "_Check":
        """The classifier and the known pictures."""
        from intaglio.files import file_hash
        from intaglio.models import testbed
        from intaglio.models.classifiers import load_classifier

        path = self.classifier or testbed.classifier_path()
        service = load_classifier(path, self.device)
        if self.head not in service.classes:
            raise BadInput(f"the classifier has no --head {self.head}; choose one of: {', '.join(service.classes)}")
        known = self.load_pictures(cast(Path, self.known), self.resolution)
        inputs = {"classifier": described(path, file_hash(path)), "known": described(self.known, known.fingerprint)}
        method, classes = cast("ResultCheck", self.method), service.classes[self.head]
        return _Check(method, self.head, classes, self.resolution, inputs, None, service, known)

    def _check(
        self, method: "ResultCheck", fitted: "FittedCheck", images: "ImageSet", answers: "Answers", run: "Run"
    ) -> None:
        from intaglio.audit.inference.audit import check_results
        from intaglio.metrics.statistics.conformal import needed_controls

        folder = Path(run.folder or ".")
        found = check_results(method, fitted, images, answers, rate=self.fpr, run=run)
        if not found.enough:
            run.warn(
                f"{found.held} pictures are held out, and a rate of {self.fpr:g} wants {needed_controls(self.fpr)}, so "
                "that every answer passes; give more pictures to --known, or a larger --fpr"
            )
        if fitted.copied == len(fitted.widths):
            run.warn(
                f"no stage of the classifier could be replaced at an agreement of {method.agreement:g}, so that the "
                "student is the classifier itself and costs as much; give more pictures to --known, more --steps, or a "
                "smaller --agreement"
            )
        if seen := sum(found.seen):
            run.warn(
                f"{seen} of the pictures {'is' if seen == 1 else 'are'} among those of the fit; their p-values mean "
                "nothing"
            )
        fitted.save(folder / FITTED)
        found.save(folder)
        pictures = ("images",) if found.pictures else ()
        run.finish(found.figures(), ("checked_answers.json", "checked_answers.csv", FITTED, *pictures))
        method.forget(run, len(fitted.widths))


def _own(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A method's settings as it takes them: lists as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def _report(found: "CheckedAnswers", folder: Path) -> None:
    """Print the answers by their p-value, and write the report."""
    from intaglio.report import write_report

    every = sorted(found.rows(), key=lambda row: row["p"])
    rows = [
        (
            row["picture"],
            "passes" if row["passes"] else "fails",
            short_number(row["p"]),
            f"{row['class']} ({row['probability']:.2f})",
            row["student_class"],
            "" if row["passes"] else row["repaired_class"],
        )
        for row in every[:MOST_ROWS]
    ]
    say(aligned([("picture", "verdict", "p", "answer", "student", "in its place"), *rows]))
    if (left := len(every) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'checked_answers.csv'}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
