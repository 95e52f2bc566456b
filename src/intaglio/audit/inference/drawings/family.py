"""Checks of drawings: the contract of a method that tells whether pictures are what a model draws by their settings."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.inference.drawings.result import CheckedDrawing, CheckedDrawings
from intaglio.errors import BadInput, require
from intaglio.images.image_set import ImageSet
from intaglio.randomness import seed_32bit
from intaglio.runs.picture_batches import in_batches
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

Redraw = Callable[[str], Float[Tensor, "3 h w"]]
"""The picture of a name, drawn again by the settings that it is said to be drawn by, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class DrawingCheck(ABC):
    """A check by lot of pictures from elsewhere, each of which is said to be drawn by a model, settings and a seed.

    Some of the pictures are chosen and drawn again. A method says how far a picture lies from the one that is drawn
    now; it is a fake where that is above a tolerance.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The distance in words, as the end of a sentence for people who know no formula."""

    checked: int = 20
    """Pictures that are drawn again, from 1; all where there are fewer. One of F fakes among N pictures is met with a
    chance of 1 - C(N - F, checked) / C(N, checked)."""
    tolerance: float = 1.0
    """Distance up to which a picture is the one that was drawn again, grey levels of 255, from 0: rounding differs
    between machines."""
    seed: int = 0
    """Seed of the choice, from 0. Take one that the maker of the pictures cannot know, after the pictures have come:
    who knows it knows which are looked at."""

    def __post_init__(self) -> None:
        require(self.checked >= 1, f"checked must be 1 or more, not {self.checked}")
        require(0 <= self.tolerance < float("inf"), f"tolerance must be 0 or more, and finite, not {self.tolerance}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")

    @abstractmethod
    def distance(self, given: Float[Tensor, "3 h w"], drawn: Float[Tensor, "3 h w"]) -> float:
        """The distance of a given picture from the one drawn again, both in [0, 1], in grey levels of 255."""

    def chosen(self, images: ImageSet) -> list[int]:
        """Places of the pictures to draw again, in their order: a lot by the seed, names and contents."""
        lots = [seed_32bit(self.seed, "drawn again", *one) for one in zip(images.names, images.hashes, strict=True)]
        order = sorted(range(len(images)), key=lambda place: (lots[place], images.names[place]))
        return sorted(order[: self.checked])

    def __call__(self, images: ImageSet, redraw: Redraw, *, run: Run = Run.none()) -> CheckedDrawings:
        """The chosen pictures with their distances.

        Args:
            images: one or more.
            redraw: draws a picture again by its name.
            run: records and progress; a killed call goes on after the last picture.

        Raises `BadInput` for no pictures, and for one that is drawn in another size.
        """
        if not len(images):
            raise BadInput("there are no pictures to check; give a folder with at least one to --images")
        part = images[self.chosen(images)]

        def distances(some: ImageSet) -> dict[str, list[float]]:
            return {"distance": [self._apart(*one, redraw) for one in zip(some.names, some.pixels, strict=True)]}

        key = digest([self.name, {name: value for name, value in asdict(self).items() if name != "tolerance"}])
        found = in_batches(run, self.name, key, part, distances)["distance"].tolist()
        return CheckedDrawings(
            self.name,
            self.reading,
            self.tolerance,
            len(images),
            tuple(
                CheckedDrawing(name, content, distance)
                for name, content, distance in zip(part.names, part.hashes, found, strict=True)
            ),
        )

    def _apart(self, name: str, given: Float[Tensor, "3 h w"], redraw: Redraw) -> float:
        drawn = redraw(name)
        if drawn.shape != given.shape:
            sizes = ["x".join(map(str, one.shape[:0:-1])) for one in (given, drawn)]
            raise BadInput(f"{name} is {sizes[0]} pixels and drawn again {sizes[1]}; check the picture as it was drawn")
        return self.distance(given, drawn)
