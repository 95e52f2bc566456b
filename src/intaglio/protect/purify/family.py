"""Purifiers: the contract of a way to clean pictures of a protection or a mark."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from intaglio.models.capabilities import Encodes, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.verbs import FileName

STRIDE = 8
"""Cells of the latents that sides are filled up to a multiple of, for networks that halve them a few times."""


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
        """What is done to pictures, as the end of a sentence that begins "They are"."""

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
    """A purifier by a model. Pictures are mirrored at their borders up to sides that the model takes."""

    uses_model = True
    needs = (Encodes, ReadsPrompts, PredictsNoise)

    def clean(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion | None, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """Pictures cleaned by the model, without what was added at their borders."""
        if model is None:
            raise ValueError("this purifier needs a model")
        check_needs(self, model)
        height, width = pictures.shape[-2:]
        below, right = (-side % (STRIDE * model.factor) for side in (height, width))
        mode = "reflect" if below < height and right < width else "replicate"
        filled = functional.pad(pictures, [0, right, 0, below], mode=mode)
        return self.cleaned(filled, model, seed)[..., :height, :width]

    @abstractmethod
    def cleaned(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """Pictures whose sides the model takes, cleaned."""
