"""Purifiers: the contract of a way to clean pictures of a protection or a mark."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.capabilities import Encodes, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.model_views import mirrored
from intaglio.verbs import FileName

OVERLAP = 4
"""Squares overlap by one part in so many of their side."""


@dataclass(frozen=True, kw_only=True)
class Purifier(ABC):
    """A way to clean pictures: they keep their size and range, and lose what small changes carried.

    A method is a frozen dataclass of settings. Cleaning is deterministic, or follows from a seed.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    """`baseline`: what others are measured against."""
    uses_model: ClassVar[bool] = False
    """Whether a model cleans; its pictures are of any size."""
    needs: ClassVar[tuple[type, ...]] = ()
    """What a model must be able to do (`intaglio.models.capabilities`); nothing where none is used."""

    @property
    def label(self) -> str:
        """The name with what sets it apart from the same method with other settings, such as `jpeg-75`."""
        return self.name

    @property
    @abstractmethod
    def words(self) -> str:
        """The treatment of pictures, as the end of a sentence that begins "They are"."""

    @abstractmethod
    def clean(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion | None, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """Cleaned pictures in [0, 1], of the same size.

        Args:
            pictures: in [0, 1].
            model: for methods that use one; it is left as it was found. None for the others.
            seed: of what is drawn.

        Raises:
            ValueError: where a model is needed and none is given.
        """


@dataclass(frozen=True, kw_only=True)
class ModelPurifier(Purifier, ABC):
    """A purifier by a model, in squares of the model's resolution that overlap by a quarter and fade into each other.

    A picture that is smaller is mirrored at its borders.
    """

    uses_model = True
    needs = (Encodes, ReadsPrompts, PredictsNoise)

    def clean(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion | None, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """Pictures cleaned by the model."""
        if model is None:
            raise ValueError("this purifier needs a model")
        check_needs(self, model)
        side, (height, width) = model.resolution, pictures.shape[-2:]
        if height == width == side:
            return self.cleaned(pictures, model, seed)
        found, share = torch.zeros_like(pictures), torch.zeros(height, width)
        for top in tile_starts(height, side):
            for left in tile_starts(width, side):
                rows, columns = torch.arange(top, top + side), torch.arange(left, left + side)
                given = pictures[..., mirrored(rows, height)[:, None], mirrored(columns, width)[None]]
                fade = _fade(side)[: height - top, None] * _fade(side)[None, : width - left]
                part = self.cleaned(given, model, seed)[..., : height - top, : width - left]
                found[..., top : top + side, left : left + side] += fade * part
                share[top : top + side, left : left + side] += fade
        return (found / share).clamp(0, 1)

    @abstractmethod
    def cleaned(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """Squares of the model's resolution, cleaned."""


def tile_starts(size: int, side: int) -> list[int]:
    """First places of squares that cover `size` pixels, evenly spread; 0 alone where the picture fits into one."""
    if size <= side:
        return [0]
    count = -(-(size - side) // (side - side // OVERLAP)) + 1
    return [round(k * (size - side) / (count - 1)) for k in range(count)]


def _fade(side: int) -> Float[Tensor, "side"]:
    """Weights of a square's pixels along one side, which fall off linearly over the overlap."""
    place = torch.arange(side) + 0.5
    return torch.minimum(place, side - place).clamp(max=side // OVERLAP) / (side // OVERLAP)
