"""The result of a check: for each answer of a service its p-value, and the class in its place where it does not pass.

`checked_answers.json` in the run's folder:

    {"method", "reading", "head", "classes": [name, ...], "rate", "fitted", "held", "agreement", "cost",
     "answers": [{"name", "hash", "seen", "score", "p", "answer": [float, ...], "student": [float, ...],
     "repaired": [float, ...], "picture": path relative to the folder or null}, ...]}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.inference.class_answers import Answers
from intaglio.files import atomic_write
from intaglio.metrics.statistics.conformal import called, needed_controls
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv

FILE = "checked_answers.json"
COLUMNS = ["picture", "passes", "p", "score", "class", "probability", "student_class", "repaired_class", "seen"]
Values = Float[Tensor, "n"]


@dataclass(frozen=True, eq=False)
class CheckedAnswers(ResultTable):
    """The answers of a service to n pictures, with K classes, and how unusual each is beside its student's."""

    method: str
    reading: str
    """The score in words, as the end of a sentence."""
    head: str
    classes: tuple[str, ...]
    rate: float
    """Share of clean answers that may fail, at most; in (0, 1)."""
    fitted: str
    """Hash of the fit."""
    held: int
    """Held-out pictures whose clean answers give the p-values."""
    agreement: float
    """Share of unseen pictures on which the student's class is the service's."""
    cost: float
    """The student's multiplications, as a share of the service's."""
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    seen: tuple[bool, ...]
    """Whether a picture is one of those of the fit; its p-value then means nothing."""
    scores: Values
    """Higher for an answer that is less like the student's; compares within one fit alone; float64."""
    p: Values
    """Conformal p-value of each answer, in (0, 1]; float64."""
    answers: Answers
    """As the service gave them."""
    student: Answers
    repaired: Answers
    """The answers, but where one does not pass what the method puts in its place."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Paths of stored pictures, relative to the run's folder, by name."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Answers checked by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def passes(self) -> list[bool]:
        """Whether each answer passes: its p-value lies above the rate."""
        return [not fails for fails in called(self.p.numpy(), self.rate).tolist()]

    @property
    def enough(self) -> bool:
        """Whether the held-out pictures are enough for an answer to fail at the rate."""
        return self.held >= needed_controls(self.rate)

    @property
    def statement(self) -> str:
        """The outcome in one or two sentences."""
        failed, count = self.passes.count(False), len(self.names)
        if not self.enough:
            return (
                f"{self.held} held-out pictures are too few for an answer to fail at a rate of {self.rate:g}; nothing "
                "is said of the answers."
            )
        said = f"{failed} of {count} {'answer' if count == 1 else 'answers'} "
        said += f"{'does' if failed == 1 else 'do'} not look like the classifier's own. "
        return said + f"Of its own answers at most {self.rate:.1%} would not, in the long run."

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture; the keys are `COLUMNS`."""
        best, own, mended = (one.argmax(1).tolist() for one in (self.answers, self.student, self.repaired))
        return [
            {
                "picture": name,
                "passes": self.passes[i],
                "p": float(self.p[i]),
                "score": float(self.scores[i]),
                "class": self.classes[best[i]],
                "probability": float(self.answers[i, best[i]]),
                "student_class": self.classes[own[i]],
                "repaired_class": self.classes[mended[i]],
                "seen": self.seen[i],
            }
            for i, name in enumerate(self.names)
        ]

    def figures(self) -> dict[str, Any]:
        """Counts, and what the student is worth."""
        return {
            "statement": self.statement,
            "answers": len(self.names),
            "failed": self.passes.count(False),
            "smallest_p": float(self.p.min()),
            "held_out": self.held,
            "student_agreement": self.agreement,
            "student_cost": self.cost,
        }

    def save(self, folder: Path) -> None:
        """Writes `checked_answers.csv`, a row a picture, and `checked_answers.json`, each atomically."""
        atomic_write(Path(folder) / "checked_answers.csv", rows_csv(self.rows(), COLUMNS))
        atomic_write(Path(folder) / FILE, to_json(self.to_dict()) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "CheckedAnswers | None":
        """The result stored in a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        return load_result(Path(folder) / FILE, cls.from_dict, "check")

    def to_dict(self) -> dict[str, Any]:
        """The content of `checked_answers.json`."""
        plain = ("method", "reading", "head", "rate", "fitted", "held", "agreement", "cost")
        return {
            **{name: getattr(self, name) for name in plain},
            "classes": list(self.classes),
            "answers": [
                {
                    "name": name,
                    "hash": self.hashes[i],
                    "seen": self.seen[i],
                    "score": float(self.scores[i]),
                    "p": float(self.p[i]),
                    "answer": self.answers[i].tolist(),
                    "student": self.student[i].tolist(),
                    "repaired": self.repaired[i].tolist(),
                    "picture": self.pictures.get(name),
                }
                for i, name in enumerate(self.names)
            ],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "CheckedAnswers":
        """The inverse of `to_dict`. Raises `ValueError` for answers that are not as many as the classes."""
        classes, rows = tuple(str(one) for one in stored["classes"]), stored["answers"]
        tables = [
            torch.tensor([[float(value) for value in row[key]] for row in rows], dtype=torch.float64)
            for key in ("answer", "student", "repaired")
        ]
        if {tuple(table.shape) for table in tables} != {(len(rows), len(classes))}:
            raise ValueError(f"{len(rows)} answers of {len(classes)} classes have another shape")
        scores, p = (torch.tensor([float(row[key]) for row in rows], dtype=torch.float64) for key in ("score", "p"))
        answers, student, repaired = tables
        return cls(
            method=str(stored["method"]),
            reading=str(stored["reading"]),
            head=str(stored["head"]),
            classes=classes,
            rate=float(stored["rate"]),
            fitted=str(stored["fitted"]),
            held=int(stored["held"]),
            agreement=float(stored["agreement"]),
            cost=float(stored["cost"]),
            names=tuple(str(row["name"]) for row in rows),
            hashes=tuple(str(row["hash"]) for row in rows),
            seen=tuple(bool(row["seen"]) for row in rows),
            scores=scores,
            p=p,
            answers=answers,
            student=student,
            repaired=repaired,
            pictures={str(row["name"]): str(row["picture"]) for row in rows if row["picture"] is not None},
        )
