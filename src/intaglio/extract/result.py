"""The result of a whole extraction: the finds with their error rates, the null, the evaluation; stored and read again.

`extraction.json` in the run's folder:

    {"method", "reading", "statement", "fdr", "told", "returned", "drawn", "excluded": {reason: count}, "threshold",
     "exact", "captioned", "finds": [find, ...], "scores": [float, ...], "control": null_search or null,
     "evaluation": evaluation or null}
    find = {"name", "seed", "prompt", "size", "cohesion", "lowest", "apart", "gap", "score", "members": [seed, ...],
            "q_value": float or null, "image": path} and, where the training set is known,
           {"nearest", "similarity", "nearest_image": path, "held_out": float or null, "match_q": float or null}
    null_search = {"drawn", "scores": [float, ...], "sizes": [int, ...], "images": [path, ...]}
    evaluation = {"average_similarity", "training", "extracted", "loose", "strict", "rates": {"loose", "strict"},
                  "by_picture": [float, ...], "nearest": [name, ...]}

Paths are relative to the folder.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intaglio.files import atomic_write
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv, without_nan

FILE = "extraction.json"
CSV = [
    "name",
    "seed",
    "prompt",
    "size",
    "cohesion",
    "lowest",
    "apart",
    "gap",
    "score",
    "q_value",
    "nearest",
    "similarity",
    "held_out",
    "match_q",
]
"""Columns of `finds.csv`."""


@dataclass(frozen=True)
class TrainingMatch:
    """The training picture nearest to a find."""

    nearest: str
    similarity: float
    nearest_image: str
    held_out: float | None
    """Similarity of the find with its nearest picture that was not trained on; None where none are known."""
    match_q: float | None
    """The false-discovery rate of matches as close as this; None without held-out pictures."""


@dataclass(frozen=True)
class ReturnedPicture:
    """One find, as it is stored."""

    name: str
    seed: int
    prompt: str
    size: int
    """Pictures in its group."""
    cohesion: float
    """Mean similarity of two members; NaN for a lone picture."""
    lowest: float
    """Least similarity of two members; NaN for a lone picture."""
    nearest_other: float
    """Similarity with the nearest other find; NaN where there is none."""
    loss_difference: float
    """The base's denoising loss less the suspect's."""
    score: float
    members: tuple[int, ...]
    """Seeds of its group, its own among them."""
    q_value: float | None
    """The false-discovery rate of reporting it and all that stand out more; None without the null."""
    image: str
    match: TrainingMatch | None = None
    """None where the training set is not known."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, under the names of the file."""
        own = {**vars(self), "apart": self.nearest_other, "gap": self.loss_difference, "members": list(self.members)}
        for name in ("nearest_other", "loss_difference", "match"):
            del own[name]
        return own | ({} if self.match is None else vars(self.match))

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ReturnedPicture":
        """The inverse of `to_dict`."""

        def number(key: str) -> float:
            return math.nan if stored.get(key) is None else float(stored[key])

        match = None
        if "nearest" in stored:
            match = TrainingMatch(
                **{name: stored[name] for name in ("nearest", "similarity", "nearest_image")},
                held_out=stored.get("held_out"),
                match_q=stored.get("match_q"),
            )
        return cls(
            name=stored["name"],
            seed=stored["seed"],
            prompt=stored["prompt"],
            size=stored["size"],
            cohesion=number("cohesion"),
            lowest=number("lowest"),
            nearest_other=number("apart"),
            loss_difference=number("gap"),
            score=float(stored["score"]),
            members=tuple(stored["members"]),
            q_value=stored.get("q_value"),
            image=stored["image"],
            match=match,
        )


@dataclass(frozen=True)
class NullGroups:
    """The groups of the base's own pictures."""

    drawn: int
    scores: tuple[float, ...]
    """The score of every group."""
    sizes: tuple[int, ...]
    """Pictures in each of the groups that are shown, the largest first."""
    images: tuple[str, ...]
    """A picture of each of those."""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "NullGroups":
        """The groups that a file holds."""
        scores, sizes, images = (tuple(stored[name]) for name in ("scores", "sizes", "images"))
        return cls(int(stored["drawn"]), scores, sizes, images)


@dataclass(frozen=True)
class TrainingCoverage:
    """Coverage of the training set by the returned pictures."""

    average_similarity: float
    training: int
    """Training pictures."""
    extracted: int
    """Returned pictures."""
    loose: float | None
    """The similarity that one in 100 pairs of different pictures exceeds; None where there are too few."""
    strict: float | None
    """The similarity that one in 1,000 exceeds."""
    rates: Mapping[str, float | None]
    """Share of the training pictures above `loose` and `strict`."""
    by_picture: tuple[float, ...]
    """Similarity of each training picture with its nearest find."""
    nearest: tuple[str, ...]
    """That find's name."""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "TrainingCoverage":
        """The coverage that a file holds."""
        lists = {name: tuple(stored[name]) for name in ("by_picture", "nearest")}
        return cls(**{**stored, **lists})


@dataclass(frozen=True)
class ExtractionResult(ResultTable):
    """The outcome of an extraction."""

    method: str
    reading: str
    """How the pictures were drawn, as the end of a sentence that begins "60 pictures"."""
    finds: tuple[ReturnedPicture, ...]
    """The one that stands out most first."""
    drawn: int
    excluded: Mapping[str, int]
    """How many pictures were left out of the groups, by reason."""
    threshold: float
    """Every two pictures of a group are at least this alike."""
    scores: tuple[float, ...]
    """The score of every group, lone pictures among them."""
    exact: bool
    """Whether all groups are the largest cliques."""
    prompted: bool
    """Whether a prompt was known."""
    fdr: float
    """The false-discovery rate asked for, in (0, 1)."""
    null: NullGroups | None = None
    """None where the base was not searched."""
    coverage: TrainingCoverage | None = None
    """None where the training set is not known."""
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """Also kept in `run.json`."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Extraction by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return CSV

    @property
    def reported(self) -> int | None:
        """Number of finds that can be reported at the rate asked for; None without the null."""
        return None if self.null is None else sum(self.stands_out(find) for find in self.finds)

    def stands_out(self, find: ReturnedPicture) -> bool:
        """Whether a find can be reported at the rate asked for."""
        return find.q_value is not None and find.q_value <= self.fdr

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        count = len(self.finds)
        if not count:
            return "No group of alike pictures was drawn; nothing is returned."
        if self.null is None:
            return f"{count} pictures are returned; without the base's control nobody can say how many by chance."
        if self.reported:
            return (
                f"{self.reported} of {count} returned pictures stand out from what the base draws by itself, at a "
                f"false-discovery rate of at most {self.fdr:g}."
            )
        lowest = min(find.q_value for find in self.finds if find.q_value is not None)
        return (
            f"None of {count} returned pictures can be told from what the base draws by itself at a false-discovery "
            f"rate of {self.fdr:g}; the lowest reached is {lowest:.2g}."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a find, with the columns of `finds.csv`."""
        found = [find.to_dict() for find in self.finds]
        return [{column: row.get(column) for column in CSV} for row in found]

    def figures(self) -> dict[str, Any]:
        """Counts, and how much was extracted where that is known."""
        return {
            "statement": self.statement,
            "returned": len(self.finds),
            "told": self.reported,
            "drawn": self.drawn,
            "excluded": sum(self.excluded.values()),
            "average_similarity": None if self.coverage is None else self.coverage.average_similarity,
        }

    def to_dict(self) -> dict[str, Any]:
        """The content of `extraction.json`."""
        return {
            "method": self.method,
            "reading": self.reading,
            "returned": len(self.finds),
            "drawn": self.drawn,
            "excluded": dict(self.excluded),
            "threshold": self.threshold,
            "exact": self.exact,
            "captioned": self.prompted,
            "statement": self.statement,
            "fdr": self.fdr,
            "told": self.reported,
            "finds": [find.to_dict() for find in self.finds],
            "control": None if self.null is None else vars(self.null),
            "scores": list(self.scores),
            "evaluation": None if self.coverage is None else vars(self.coverage),
        }

    def save(self, folder: Path) -> None:
        """Writes `finds.csv` and `extraction.json`, each atomically; the pictures lie where the finds say."""
        atomic_write(folder / "finds.csv", rows_csv(self.rows(), CSV))
        atomic_write(folder / FILE, to_json(without_nan(self.to_dict()), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "ExtractionResult | None":
        """The result stored in a run's folder; None where there is none (another verb, or not finished).

        Raises `BadInput` for a file that is damaged, or that lacks what this version needs.
        """
        return load_result(Path(folder) / FILE, cls.from_dict, "extraction")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ExtractionResult":
        """The inverse of `to_dict`; what files of earlier versions lack is left empty."""
        null, known = stored.get("control"), stored.get("evaluation")
        return cls(
            method=str(stored["method"]),
            reading=str(stored.get("reading") or "drawn"),
            finds=tuple(ReturnedPicture.from_dict(find) for find in stored["finds"]),
            drawn=int(stored["drawn"]),
            excluded=dict(stored["excluded"]),
            threshold=float(stored["threshold"]),
            scores=tuple(stored["scores"]),
            exact=bool(stored["exact"]),
            prompted=bool(stored["captioned"]),
            fdr=float(stored["fdr"]),
            null=None if null is None else NullGroups.from_dict(null),
            coverage=None if known is None else TrainingCoverage.from_dict(known),
        )
