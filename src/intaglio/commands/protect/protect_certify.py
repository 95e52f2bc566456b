"""`intaglio protect certify METHOD`: the class of each picture, and how far it may be changed before it can change."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described, short_number
from intaglio.commands.kit.picture_sides import check_resolution
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.protect.certify.family import Certifier
    from intaglio.protect.certify.result import CertifiedPictures

M = TypeVar("M")
MOST_ROWS = 40
"""Pictures of the printed table."""


@dataclass(frozen=True, kw_only=True)
class ProtectCertify(DryRun, InRun, ReadsPictures, Generic[M]):
    """Tell the class of each picture with a radius: no change shorter than it, whoever made it, changes the class.

    Lengths are Euclidean, over all numbers of a picture in [0, 1]: of 64x64 pixels in three colours, a change of every
    number by one grey level in 255 has 0.43. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder or a file."""
    classifier: Path | None = None
    """The classifier, a .safetensors file that Intaglio wrote; none takes the embedded one of kinds and artists of
    emoji, for rrcm the one that is told the noise level."""
    head: str = "kind"
    """Head of the classifier that calls, such as kind or artist."""
    resolution: int = 64
    """Pixels of a side to which pictures are read, from 16; the classifier's own."""

    def __post_init__(self) -> None:
        check_resolution(self.resolution)

    def check_early(self) -> None:
        """Raises `BadInput` for a classifier that is not there."""
        if self.classifier is not None and not self.classifier.is_file():
            raise BadInput(f"{self.classifier} does not exist; check the path of --classifier")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.files import file_hash
        from intaglio.models import testbed
        from intaglio.models.classifiers import load_classifier
        from intaglio.protect.certify.cost import certify_plan
        from intaglio.protect.certify.result import CertifiedPictures

        told = self._method.tells_level
        path = self.classifier or (testbed.noise_classifier_path() if told else testbed.classifier_path())
        classifier = load_classifier(path, self.device, levels=True)
        self._method.check_classifier(classifier)
        if self.head not in classifier.classes:
            raise BadInput(f"the classifier has no --head {self.head}; choose one of: {', '.join(classifier.classes)}")
        images = self.load_pictures(self.images, self.resolution)
        plan = certify_plan(self._method, classifier, self.head, images)
        if self.dry_run and self.ends_with(plan):
            return 0
        known: dict[str, Any] = {"classifier": described(path, file_hash(path))}
        known["images"] = described(self.images, images.fingerprint)
        settings = {**asdict(cast(Any, self.method)), "head": self.head, "resolution": self.resolution}
        with self.open_run("protect", f"certify-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in images.warnings:
                    run.warn(warning)
                found = self._method(classifier, self.head, images, run=run)
                found.save(folder)
                run.finish(found.figures(), ("certified.json", "certified.csv"))
        _report(cast("CertifiedPictures", CertifiedPictures.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "Certifier":
        return cast("Certifier", self.method)


def _report(found: "CertifiedPictures", folder: Path) -> None:
    """Print a line a picture, and write the report."""
    from intaglio.report import write_report

    rows = [
        (row["picture"], row["class"] or "no verdict", short_number(row["radius"]), f"{row['share']:.1%}")
        for row in found.rows()[:MOST_ROWS]
    ]
    say(aligned([("picture", "class", "radius", "votes for the first"), *rows]))
    if (left := len(found.pictures) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'certified.csv'}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
