"""`FittedCheck`: a service's student with what a method learnt, and the scores of held-out answers.

It is a folder of two files: `check.safetensors` has the tensors with plain facts, `README.md` the card.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.inference.service_student import student_network
from intaglio.data_files import Fields
from intaglio.errors import BadInput, IntaglioError
from intaglio.files import atomic_write
from intaglio.models.classifiers import DEEPEST, MOST_CLASSES, WIDEST, PictureClassifier
from intaglio.printable import one_line
from intaglio.runs.plain_json import digest
from intaglio.runs.tensors import read_state, tensor_hash, write_state

KIND = "fitted check"
WEIGHTS, CARD = "check.safetensors", "README.md"
STUDENT, LEARNT, SCORES = "student/", "learnt/", "held scores"
"""Names of tensors in the file, or their prefixes."""


@dataclass(frozen=True, eq=False)
class FittedCheck:
    """A method's fit to one head of a service, with m held-out pictures."""

    method: str
    settings: Mapping[str, Any]
    """The method's settings, as JSON has them."""
    head: str
    classes: tuple[str, ...]
    """Of the head, K of them, in the order of the answers."""
    service: str
    """Hash of the service's weights (`service_hash`)."""
    size: tuple[int, int]
    """Height and width of the pictures, pixels."""
    widths: tuple[int, ...]
    """Of the student's stages."""
    repeats: tuple[int, ...]
    """Of the student's stages."""
    copied: int
    """First stages of the student that are the service's own."""
    agreement: float
    """Share of pictures that the student did not learn from, on which its class is the service's."""
    cost: float
    """The student's multiplications, as a share of the service's."""
    taught: tuple[str, ...]
    """Hashes of the pictures that taught student and method."""
    held: tuple[str, ...]
    """Hashes of the held-out pictures."""
    held_scores: Float[Tensor, "m"]
    """Of the service's own answers to the held-out pictures, float64."""
    student: Mapping[str, Tensor] = field(repr=False)
    """Tensors of the student, by name."""
    tensors: Mapping[str, Tensor] = field(repr=False)
    """Tensors that the method learnt, by name."""

    @cached_property
    def network(self) -> PictureClassifier:
        """The student, in evaluation mode, on the CPU."""
        return student_network(self.head, self.classes, self.widths, self.repeats, self.student)

    @cached_property
    def hash(self) -> str:
        """64 hex digits that change with the settings, the pictures and every bit of the tensors."""
        return digest([self._about, {name: tensor_hash(one) for name, one in self._stored.items()}])

    @property
    def _about(self) -> dict[str, Any]:
        lists = {name: list(getattr(self, name)) for name in ("classes", "size", "widths", "repeats", "taught", "held")}
        plain = {name: getattr(self, name) for name in ("method", "head", "service", "copied", "agreement", "cost")}
        return {"kind": KIND, "settings": dict(self.settings), **plain, **lists}

    @property
    def _stored(self) -> dict[str, Tensor]:
        student = {f"{STUDENT}{name}": one for name, one in self.student.items()}
        return {**student, **{f"{LEARNT}{name}": one for name, one in self.tensors.items()}, SCORES: self.held_scores}

    def save(self, folder: Path) -> Path:
        """Writes the folder; returns it."""
        folder.mkdir(parents=True, exist_ok=True)
        write_state(folder / WEIGHTS, self._stored, {**self._about, "hash": self.hash})
        atomic_write(folder / CARD, self.card())
        return folder

    @classmethod
    def load(cls, folder: Path, method: str) -> "FittedCheck":
        """The fit in a folder that `save` wrote.

        Raises `BadInput` for a folder without one, a file that is damaged or was changed, and another method's.
        """
        path, remedy = Path(folder) / WEIGHTS, "give the folder check of a run of intaglio audit inference"
        try:
            read = read_state(path)
        except IntaglioError:  # of a run's state it says that the work is done again
            raise BadInput(f"{path} is cut off or damaged; {remedy}") from None
        if read is None:
            raise BadInput(f"{folder} holds no {WEIGHTS}; {remedy}")
        about, tensors = dict(read[1]), dict(read[0])
        if about.get("kind") != KIND or about.get("method") != method:
            made = about.get("kind") == KIND
            what = f"was fitted by {one_line(str(about.get('method')))}" if made else "holds no fitted check"
            raise BadInput(f"{path} {what}, and not by {method}; {remedy} {method}")
        fields = Fields.of(about, str(path), remedy)
        try:
            found = _from(fields, method, tensors)
            whole = found.hash == fields.text("hash")
            _ = found.network
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BadInput(f"{path} lacks what a fit needs ({one_line(str(error))}); {remedy}") from None
        if not whole:
            raise BadInput(f"{path} was changed since it was fitted; {remedy}")
        return found

    def card(self) -> str:
        """The card as Markdown: method, head, student, pictures, settings, hash."""
        height, width = self.size
        return "\n".join(
            [
                f"# Answers of a classifier checked by {self.method}",
                "",
                f"Fitted to the head {one_line(self.head)} with {len(self.taught)} pictures of {height} x {width} "
                f"pixels; {len(self.held)} more were held out. The student has {self.copied} of "
                f"{len(self.widths)} stages of the service, {self.cost:.0%} of its multiplications, and its class on "
                f"{self.agreement:.1%} of pictures that it did not learn from.",
                "",
                f"Service: {self.service}",
                "",
                "Settings:",
                "",
                *(f"    {name} = {json.dumps(value)}" for name, value in self.settings.items()),
                "",
                f"Hash: {self.hash}",
                "",
            ]
        )


def _from(fields: Fields, method: str, tensors: Mapping[str, Tensor]) -> FittedCheck:
    """Raises `KeyError`, `TypeError` or `ValueError` for what is no fit."""
    about = fields.values
    height, width = (int(side) for side in about["size"])
    widths, repeats = (tuple(int(one) for one in about[name]) for name in ("widths", "repeats"))
    classes = tuple(str(one) for one in about["classes"])
    within = len(widths) == len(repeats) <= DEEPEST and 2 <= len(classes) <= MOST_CLASSES
    if not within or not all(1 <= one <= WIDEST for one in widths) or not all(1 <= one <= DEEPEST for one in repeats):
        raise ValueError("sizes of its student")
    return FittedCheck(
        method=method,
        settings=dict(fields.table("settings").values),
        head=fields.text("head"),
        classes=classes,
        service=fields.text("service"),
        size=(height, width),
        widths=widths,
        repeats=repeats,
        copied=fields.whole("copied"),
        agreement=float(about["agreement"]),
        cost=float(about["cost"]),
        taught=tuple(map(str, about["taught"])),
        held=tuple(map(str, about["held"])),
        held_scores=tensors[SCORES],
        student=_under(tensors, STUDENT),
        tensors=_under(tensors, LEARNT),
    )


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}


def service_hash(service: PictureClassifier) -> str:
    """64 hex digits that change with every weight of a classifier and every name of a class."""
    return digest([service.classes, {name: tensor_hash(one) for name, one in service.state_dict().items()}])
