"""`intaglio protect private METHOD`: a classifier learned from few pictures of each class, of which it tells little."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.commands.kit.named_paths import named_paths
from intaglio.commands.kit.picture_sides import check_resolution
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.images.image_set import ImageSet
    from intaglio.models.classifiers import PictureClassifier
    from intaglio.protect.private.family import PrivateTrainer
    from intaglio.protect.private.result import PrivateRecord
    from intaglio.runs.run import Run

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class ProtectPrivate(DryRun, InRun, ReadsPictures, Generic[M]):
    """Teach a classifier classes of pictures so that what it learned tells little of any one picture.

    The classifier that it begins with is public; only what is learned of the --train pictures is private. The file
    classifier.safetensors with its card is what may be published; `--classifier` of other commands takes it. The same
    command again resumes one that was killed.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ()
    method: tyro.conf.OmitArgPrefixes[M]
    train: tuple[str, ...] = ()
    """Pictures to learn from, two classes or more, as NAME=FOLDER; each picture once."""
    judge: tuple[str, ...] = ()
    """Further pictures, as NAME=FOLDER, on which the classifier is judged; the guarantee does not cover them."""
    classifier: Path | None = None
    """The classifier to begin with, a .safetensors file that Intaglio wrote, trained in public; none takes the embedded
    one of kinds and artists of emoji."""
    head: str = "private"
    """Name of the head that learns, letters, digits and _."""
    resolution: int = 64
    """Pixels of a side to which pictures are read, from 16; the classifier's own."""

    def __post_init__(self) -> None:
        check_resolution(self.resolution)
        if not self.head.isidentifier():
            raise ValueError(f"head must be letters, digits and _, not {self.head!r}")

    def check_early(self) -> None:
        """Raises `BadInput` for no two folders to learn from, a class that is judged alone, and no classifier."""
        from intaglio.images.folder import list_pictures

        if len(self._trained) < 2:
            raise BadInput("classes are told from each other: give two or more with --train NAME=FOLDER")
        if unknown := [name for name in self._judged if name not in self._trained]:
            raise BadInput(
                f"--judge has {unknown[0]}, which no --train teaches; choose from: {', '.join(self._trained)}"
            )
        for folder in (*self._trained.values(), *self._judged.values()):
            list_pictures(folder)
        if self.classifier is not None and not self.classifier.is_file():
            raise BadInput(f"{self.classifier} does not exist; check the path of --classifier")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.files import file_hash
        from intaglio.models import testbed
        from intaglio.models.classifiers import load_classifier
        from intaglio.protect.private.cost import private_plan
        from intaglio.protect.private.labelled_pictures import LabelledPictures
        from intaglio.protect.private.result import PrivateRecord

        path = self.classifier or testbed.classifier_path()
        classifier = load_classifier(path)
        taught, judged = self._read(self._trained), self._read(self._judged)
        _check_apart(taught, judged)
        self._method.report(len(LabelledPictures.of(taught)))  # refuses what no promise covers, before there is a run
        plan = private_plan(self._method, classifier, self.head, taught)
        if self.dry_run and self.ends_with(plan):
            return 0
        known: dict[str, Any] = {"classifier": described(path, file_hash(path))}
        for flag, sets, folders in (("train", taught, self._trained), ("judge", judged, self._judged)):
            known |= {f"{flag} {name}": described(folders[name], one.fingerprint) for name, one in sets.items()}
        settings = {**asdict(cast(Any, self.method)), "head": self.head, "resolution": self.resolution}
        with self.open_run("protect", f"private-{self._method.name}", settings, known, seed=None) as run:
            if run.status != "done":
                self.begin(run, plan)
                for images in (*taught.values(), *judged.values()):
                    for warning in images.warnings:
                        run.warn(warning)
                self._train(classifier, taught, judged, run)
        folder = Path(run.folder or ".")
        _report(cast(PrivateRecord, PrivateRecord.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "PrivateTrainer":
        return cast("PrivateTrainer", self.method)

    @cached_property
    def _trained(self) -> dict[str, Path]:
        return named_paths("--train", self.train, "NAME=FOLDER", "classes")

    @cached_property
    def _judged(self) -> dict[str, Path]:
        return named_paths("--judge", self.judge, "NAME=FOLDER", "classes")

    def _read(self, folders: Mapping[str, Path]) -> "dict[str, ImageSet]":
        return {name: self.load_pictures(folder, self.resolution) for name, folder in folders.items()}

    def _train(
        self,
        classifier: "PictureClassifier",
        taught: "Mapping[str, ImageSet]",
        judged: "Mapping[str, ImageSet]",
        run: "Run",
    ) -> None:
        from intaglio.protect.private.family import STATE
        from intaglio.protect.private.result import CARD, FILE, TABLE, WEIGHTS

        found = self._method(classifier, self.head, taught, run=run)
        if judged:
            found = found.judged(judged)
        if found.record.known_noise:
            run.warn(f"the guarantee is {found.record.promise}")
        found.save(Path(run.folder or "."))
        run.drop_state(STATE)  # with the secret of the noise
        run.finish(found.record.figures(), (FILE, TABLE, WEIGHTS, CARD))


def _check_apart(taught: "Mapping[str, ImageSet]", judged: "Mapping[str, ImageSet]") -> None:
    """Raises `BadInput` for a picture that is learned and judged: its accuracy would tell what is to be private."""
    own = {one for images in taught.values() for one in images.hashes}
    both = [
        f"{name}/{picture}"
        for name, images in judged.items()
        for picture, one in zip(images.names, images.hashes, strict=True)
        if one in own
    ]
    if both:
        raise BadInput(
            f"{both[0]} of --judge is among the pictures of --train, and how it is called would tell of them; leave it "
            "out of one of the two"
        )


def _report(found: "PrivateRecord", folder: Path) -> None:
    """Print a line a judged class, and write the report."""
    from intaglio.protect.private.result import WEIGHTS
    from intaglio.report import write_report

    if found.judged:
        rows = [(row["class"], str(row["pictures"]), str(row["right"])) for row in found.rows()]
        say(aligned([("class", "judged", "right"), *rows]))
        say()
    say(found.statement)
    say(str(folder / WEIGHTS))
    say(str(write_report(folder)))
