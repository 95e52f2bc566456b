"""The result of an attribution: a map for each picture, stored and read again.

`attributions.safetensors` in the run's folder has the maps and the regions, and in its metadata a note of the rest;
`attributions.csv` has a line a picture.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "attributions.safetensors", "attributions.csv"
COLUMNS = ["picture", "class", "called", "score", "blank", "insertion", "deletion", "chance", "passes"]


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the class's probability while a picture is revealed or removed, in [0, 1]."""

    insertion: float
    """Revealed onto the blank in the map's order, the highest first: high for a map that names what matters."""
    deletion: float
    """Removed in that order: low for such a map."""
    chance: float
    """Revealed in an order that was drawn at random; the mean of a few."""


@dataclass(frozen=True)
class ExplainedPicture:
    """One picture."""

    name: str
    target: int
    """Place of the class that is explained."""
    called: int
    """Place of the likeliest class."""
    score: float
    """Of the explained class."""
    blank: str
    """What stood in place of what was hidden: white, mean or blurred."""
    passes: int
    """Pictures that went through the network for the map, not for its test; a gradient counts as two."""
    order: tuple[int, ...]
    """Regions in the order of the method's choice; empty where it has none."""
    faithful: Faithfulness

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "ExplainedPicture":
        """The inverse of `asdict`."""
        return cls(
            str(stored["name"]),
            int(stored["target"]),
            int(stored["called"]),
            float(stored["score"]),
            str(stored["blank"]),
            int(stored["passes"]),
            tuple(int(one) for one in stored["order"]),
            Faithfulness(*(float(stored["faithful"][name]) for name in ("insertion", "deletion", "chance"))),
        )


@dataclass(frozen=True, eq=False)
class Attributions(StoredTable):
    """Maps of pictures by one method: which places the score of a class comes from."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command explains the pictures again"

    method: str
    head: str
    classes: tuple[str, ...]
    score: str
    """Of the class: log-odds, logit or probability."""
    reading: str
    signed: bool
    """Whether places below 0 lower the score."""
    pictures: tuple[ExplainedPicture, ...]
    maps: Float[Tensor, "n h w"]
    regions: Int[Tensor, "n h w"]
    """Numbers of regions; -1 where the method has none."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Explained by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        count, figures = len(self.pictures), self.figures()
        pictures = "1 picture is" if count == 1 else f"{count} pictures are"
        return (
            f"{pictures} explained; revealed in the order of the maps, the class has a mean probability of "
            f"{figures['insertion']:.2f}, in a random order {figures['chance']:.2f}."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture; the keys are `COLUMNS`."""
        return [
            {
                "picture": one.name,
                "class": self.classes[one.target],
                "called": self.classes[one.called],
                "score": one.score,
                "blank": one.blank,
                **asdict(one.faithful),
                "passes": one.passes,
            }
            for one in self.pictures
        ]

    def figures(self) -> dict[str, Any]:
        """Counts of pictures, of those whose called class is explained and of passes; means of the areas."""
        faithful = [asdict(one.faithful) for one in self.pictures]
        return {
            **{name: sum(one[name] for one in faithful) / len(faithful) for name in faithful[0]},
            "pictures": len(self.pictures),
            "called": sum(one.target == one.called for one in self.pictures),
            "passes": sum(one.passes for one in self.pictures),
        }

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        about = {
            "method": self.method,
            "head": self.head,
            "classes": list(self.classes),
            "score": self.score,
            "reading": self.reading,
            "signed": self.signed,
            "pictures": [asdict(one) for one in self.pictures],
        }
        return {"maps": self.maps, "regions": self.regions}, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "Attributions":
        classes = tuple(str(one) for one in about["classes"])
        pictures = tuple(ExplainedPicture.of(one) for one in about["pictures"])
        maps, regions = tensors["maps"], tensors["regions"]
        if maps.dim() != 3 or maps.shape != regions.shape or len(maps) != len(pictures):
            raise ValueError("maps do not fit the pictures")
        if not all(0 <= place < len(classes) for one in pictures for place in (one.target, one.called)):
            raise ValueError("a picture has a class that there is not")
        method, head, score, reading = (str(about[key]) for key in ("method", "head", "score", "reading"))
        return cls(method, head, classes, score, reading, bool(about["signed"]), pictures, maps, regions)
