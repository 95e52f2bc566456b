"""Attributors: the contract of a method that spreads a classifier's score of a picture over its places."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.explain.blank import Blank, blank_of, chosen_blank
from intaglio.explain.faithfulness import faithfulness
from intaglio.explain.regions import HIDDEN
from intaglio.explain.result import Attributions, ExplainedPicture
from intaglio.images.image_set import ImageSet
from intaglio.models.scored_network import ScoredNetwork
from intaglio.runs.picture_batches import content_order
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName


class Attribution(NamedTuple):
    """The attribution of one picture's score."""

    map: Float[Tensor, "h w"]
    """Finite numbers, higher for places that raise the score more."""
    passes: int
    """Pictures that went through the network for it, without those of its test; a gradient counts as two."""
    regions: Int[Tensor, "h w"] | None = None
    """Numbers of regions, where the method chooses among some."""
    order: tuple[int, ...] = ()
    """Regions in the order of the method's choice, the most important first; empty where it gives values alone."""


@dataclass(frozen=True, kw_only=True)
class Attributor(ABC):
    """A way to tell which places of a picture a classifier's score of a class comes from.

    A method is a frozen dataclass of settings. A picture's map follows from the network, the class and the picture
    alone: not from the others, nor from the batch, up to rounding.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The map in words, as the end of a sentence that begins "A place is red where"."""
    signed: ClassVar[bool] = True
    """Whether a map has places that lower the score, which are below 0."""
    looks_inside: ClassVar[bool] = False
    """Whether it wants layers of the network, which TorchScript does not show."""
    library: ClassVar[str] = ""
    """Package of the group `explain` that it is computed by; empty: none."""
    bench: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}}
    """Settings of its rows in `intaglio bench explain`, by what their names add to the method's."""

    blank: Blank = "auto"
    """Put in place of what is hidden: white, mean (the picture's mean colour) or blurred; auto takes white for pictures
    on white, else mean."""
    batch: int = 64
    """Pictures that go through the network together, from 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of what is drawn, from 0; each picture has draws of its own by its content."""

    def __post_init__(self) -> None:
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")

    @abstractmethod
    def attributed(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str
    ) -> Attribution:
        """The attribution of a picture's score.

        Args:
            scored: the network and its score.
            pixels: of the picture, in [0, 1].
            target: place of the class that is scored.
            content: hash of the picture, which draws follow from.
        """

    @abstractmethod
    def passes(self, side: int) -> int:
        """Pictures that go through the network for the map of one of this side, about; a gradient counts as two.

        Those of its test are not among them (`faithfulness.PASSES`).
        """

    def check(self, scored: ScoredNetwork) -> None:
        """Raises `BadInput` for a network that the method cannot look into, and for a library that is missing."""
        if self.library and find_spec(self.library) is None:
            raise BadInput(f"{self.name} is computed by {self.library}; install it: pip install 'intaglio[explain]'")
        if self.looks_inside:
            scored.check_layers()

    def __call__(
        self, scored: ScoredNetwork, images: ImageSet, targets: Sequence[int], *, run: Run = Run.none()
    ) -> Attributions:
        """The attributions of pictures, each for its own class.

        Args:
            scored: left as it was found.
            images: one or more.
            targets: the place of the class that is explained, for each picture.
            run: progress and states; a killed call goes on after the last picture.

        Raises:
            BadInput: for no pictures, and where `check` does.
            IntaglioError: for maps that are not finite.
        """
        if not len(images):
            raise BadInput("there are no pictures to explain; give a folder with at least one to --images")
        self.check(scored)
        called = scored.called(images.pixels).tolist()
        states = self._states(scored, images, targets)
        known: dict[int, tuple[Mapping[str, Tensor], Mapping[str, Any]]] = {
            place: state for place, name in enumerate(states) if (state := run.load_state(name)) is not None
        }
        with run.progress(len(images), self.name, len(known)) as progress:
            for place in content_order(images):
                if place in known:
                    continue
                tensors, row = self._one(scored, images, place, int(targets[place]), called[place])
                known[place] = tensors, asdict(row)
                run.save_state(states[place], *known[place])
                progress.advance()
        rows = [known[place] for place in range(len(images))]
        maps, regions = (torch.stack([tensors[name] for tensors, _ in rows]) for name in ("map", "regions"))
        named = (
            replace(ExplainedPicture.of(row), name=name) for (_, row), name in zip(rows, images.names, strict=True)
        )
        return Attributions(
            self.name, scored.head, scored.classes, scored.score_of, self.reading, self.signed,
            tuple(named), maps, regions,
        )  # fmt: skip

    def _one(
        self, scored: ScoredNetwork, images: ImageSet, place: int, target: int, called: int
    ) -> tuple[dict[str, Tensor], ExplainedPicture]:
        """Map and regions, -1 where there are none, with the row of one picture."""
        pixels, content = images.pixels[place], images.hashes[place]
        blank, source = blank_of(self.blank, pixels), (self.seed, content)
        found = self.map_of(scored, pixels, target, content)
        regions = torch.full(found.map.shape, -1) if found.regions is None else found.regions
        tensors = {"map": found.map, "regions": regions.to(torch.int32).cpu()}
        with torch.no_grad():
            score = float(scored.score(pixels[None], target))
        faithful = faithfulness(scored, pixels, blank, target, tensors["map"], source)
        words = chosen_blank(self.blank, pixels)
        row = ExplainedPicture(images.names[place], target, called, score, words, found.passes, found.order, faithful)
        return tensors, row

    def map_of(self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str) -> Attribution:
        """The attribution of a picture, as `attributed` has it; 0 everywhere for one that is as its blank is.

        Raises `IntaglioError` for a map that is not finite.
        """
        if float((pixels - blank_of(self.blank, pixels)).abs().max()) <= HIDDEN:
            return Attribution(torch.zeros(pixels.shape[1:]), 0)  # shown or hidden, it is the same picture
        found = self.attributed(scored, pixels, target, content)
        if not bool(found.map.isfinite().all()):
            raise IntaglioError(f"{self.name} gives numbers that are not finite; check the network's file")
        return found._replace(map=found.map.detach().float().cpu())

    def forget(self, run: Run, scored: ScoredNetwork, images: ImageSet, targets: Sequence[int]) -> None:
        """Drops the states of a call, once its result is safe."""
        for name in self._states(scored, images, targets):
            run.drop_state(name)

    def _states(self, scored: ScoredNetwork, images: ImageSet, targets: Sequence[int]) -> list[str]:
        """Names of the states of all pictures: what each follows from."""
        settings = {name: value for name, value in asdict(self).items() if name != "batch"}
        key = digest([self.name, settings, scored.hash, scored.side])
        pairs = zip(images.hashes, targets, strict=True)
        return [f"attribution-{digest([key, content, int(target)])[:16]}" for content, target in pairs]
