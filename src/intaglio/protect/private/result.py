"""The result of a private training: the classifier in a file, its card, and how often it is right; read again.

`private.json` in the run's folder:

    {"method", "reading", "settings", "head", "classes", "report": {...} or null, "known_noise",
     "judged": [{"class", "pictures", "right"}, ...]}
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet
from intaglio.metrics.privacy import PrivacyReport
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.models.classifiers import PictureClassifier, save_classifier
from intaglio.printable import one_line
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv

FILE, TABLE, WEIGHTS, CARD = "private.json", "judged.csv", "classifier.safetensors", "README.md"
COLUMNS = ["class", "pictures", "right"]
OUTSIDE = (
    "the number of pictures and of classes, and the names of the classes",
    "settings chosen by looking at results on these pictures, beyond the tries that were counted",
    "the classifier that the training began with, and all that it was trained on",
    "pictures that show the same thing: each is protected by itself, and what many of them share is learned",
    "the generator of the noise, which is no cryptographic one, and the rounding of numbers (arXiv 2112.05307)",
    "the folder of the run; publish the classifier and its card alone",
)
"""Parts of a training that the guarantee does not cover."""


@dataclass(frozen=True)
class JudgedClass:
    """Pictures of one class that the training did not see."""

    name: str
    pictures: int
    right: int
    """Of these, how many the classifier calls so."""


@dataclass(frozen=True)
class PrivateRecord(ResultTable):
    """The training of a classifier, and how often it is right."""

    method: str
    reading: str
    """What the training does, as the end of a sentence."""
    settings: Mapping[str, Any]
    head: str
    classes: tuple[str, ...]
    report: PrivacyReport | None
    """The guarantee of each picture; None where there is none."""
    known_noise: bool
    """Whether the noise can be drawn again, so that nothing is promised."""
    judged: tuple[JudgedClass, ...] = ()
    """None where no further pictures were given."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"A classifier by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def holds(self) -> bool:
        """Whether there is a guarantee, and nobody knows the noise."""
        return self.report is not None and not self.known_noise

    @property
    def promise(self) -> str:
        """The guarantee in words, led by a warning where it does not hold."""
        if self.report is None:
            return "no privacy is promised: gradients were not clipped, and no noise was added"
        if self.known_noise:
            said = self.report.sentence()
            return f"void: whoever knows or guesses noise_seed can subtract the noise; with a secret it would be {said}"
        return self.report.sentence()

    @property
    def statement(self) -> str:
        """Promise and accuracy in a sentence or two."""
        said = f"{self.promise[0].upper()}{self.promise[1:]}."
        if not self.judged:
            return said
        right, total = self._counts
        low, high = clopper_pearson(right, total) or (0.0, 1.0)
        share = f"{right / total:.0%} ({low:.0%} to {high:.0%})"
        return f"{said} Of {total} further pictures {right} are called rightly, {share}."

    @property
    def _counts(self) -> tuple[int, int]:
        return sum(one.right for one in self.judged), sum(one.pictures for one in self.judged)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a judged class; the keys are `COLUMNS`."""
        return [{"class": one.name, "pictures": one.pictures, "right": one.right} for one in self.judged]

    def figures(self) -> dict[str, Any]:
        """The guarantee, and the share of judged pictures that are called rightly."""
        right, total = self._counts
        return {
            "statement": self.statement,
            "guarantee_holds": self.holds,
            "privacy": None if self.report is None else asdict(self.report),
            "outside_guarantee": list(OUTSIDE),
            "right": right / total if total else None,
        }

    def card(self) -> str:
        """The card as Markdown."""
        outside = [f"- {one}" for one in OUTSIDE] if self.report is not None else []
        return "\n".join(
            [
                f"# A classifier of {len(self.classes)} classes",
                "",
                f"Head `{self.head}`: {', '.join(map(one_line, self.classes))}. Trained by `{self.method}`, which "
                f"{self.reading}.",
                "",
                f"Privacy: {self.promise}.",
                "",
                *(["Outside the guarantee:", "", *outside, ""] if outside else []),
                "Settings:",
                "",
                *(f"    {name} = {json.dumps(value)}" for name, value in self.settings.items()),
                "",
            ]
        )

    def save(self, folder: Path) -> None:
        """Writes `private.json`, `judged.csv` and the card, each atomically."""
        atomic_write(Path(folder) / CARD, self.card())
        atomic_write(Path(folder) / TABLE, rows_csv(self.rows(), COLUMNS))
        atomic_write(Path(folder) / FILE, to_json(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "PrivateRecord | None":
        """The record stored in a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        return load_result(Path(folder) / FILE, cls.from_dict, "private training")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "PrivateRecord":
        """The inverse of `asdict`. Raises `ValueError` for more right pictures than there are."""
        judged = tuple(
            JudgedClass(str(one["name"]), int(one["pictures"]), int(one["right"])) for one in stored["judged"]
        )
        if any(not 0 <= one.right <= one.pictures for one in judged):
            raise ValueError("more pictures are right than there are")
        return cls(
            method=str(stored["method"]),
            reading=str(stored["reading"]),
            settings=dict(stored["settings"]),
            head=str(stored["head"]),
            classes=tuple(map(str, stored["classes"])),
            report=None if stored["report"] is None else PrivacyReport(**stored["report"]),
            known_noise=bool(stored["known_noise"]),
            judged=judged,
        )


@dataclass(frozen=True, eq=False)
class PrivateClassifier:
    """A classifier with one head, and the record of its training."""

    classifier: PictureClassifier = field(repr=False)
    """In evaluation mode."""
    record: PrivateRecord

    def judged(self, classes: Mapping[str, ImageSet]) -> "PrivateClassifier":
        """The same with its accuracy on pictures that it did not see, by class.

        They are no part of the guarantee. Raises `BadInput` for a class that was not learned.
        """
        if unknown := [name for name in classes if name not in self.record.classes]:
            raise BadInput(f"{unknown[0]} is no class that is learned; choose from: {', '.join(self.record.classes)}")
        found = tuple(JudgedClass(name, len(images), self._right(name, images)) for name, images in classes.items())
        return replace(self, record=replace(self.record, judged=found))

    @torch.no_grad()
    def _right(self, name: str, images: ImageSet) -> int:
        wanted, right = self.record.classes.index(name), 0
        for part in images.pixels.split(64):
            right += int((self.classifier.logits(part, self.record.head).argmax(1) == wanted).sum())
        return right

    def save(self, folder: Path) -> None:
        """Writes `classifier.safetensors` and what the record writes, each atomically."""
        about = {"method": self.record.method, "privacy": self.record.promise}
        save_classifier(self.classifier, Path(folder) / WEIGHTS, about)
        self.record.save(folder)
