"""ddsp: pictures restored by a network that learnt to take hidden payloads out."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.picture_restorers import PictureRestorer, restored
from intaglio.protect.purify.family import Purifier


@dataclass(frozen=True, kw_only=True)
class DDSP(Purifier):
    """DDSP: a network that restores pictures without what is hidden in them.

    Its name stands for deep digital steganography purifier.

    A generator G, first trained as an autoencoder and then with a discriminator D, on pairs of a picture x and one with
    a payload, x': |G(x') - x|^2 / d + 1e-3 softplus(-D(G(x'))), pixels in [-1, 1]. Payloads were LSB replacement at a
    quarter to one bit a number, the mark `dwt-dct`, and quiet repeated tiles, with keys and bits at random.

    The architecture, the payloads and the weight of the second part are this package's choice, and so is this: the two
    lowest bits of every number are dropped before the network, which adds to what is left. What hides in them alone
    leaves no trace in the colours, whatever the network learnt: bits of LSB replacement are read right half the time,
    no more and no less. The rest is up to the network, which has seen emoji on white at 64 x 64 pixels and nothing
    else; a network that has seen other pictures is made by `recipes/emoji64/train_destroyer.py`. Pictures of any size,
    each by itself.

    Source: Corley, Lwowski, Hoffman, "Destruction of Image Steganography using Generative Adversarial Networks",
    arXiv 1912.10070, of which the abstract was read.
    """

    role: ClassVar[Literal["method", "baseline"]] = "method"

    piece: int = 512
    """Pixels along a side of the squares that a picture is cleaned in, from 2; fewer take less memory, the result
    stays."""

    def __post_init__(self) -> None:
        require(self.piece >= 2, f"piece must be at least 2, not {self.piece}")

    @property
    def words(self) -> str:
        """The treatment."""
        return "restored by a network that takes payloads out"

    def clean(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion | None, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        """By the embedded network."""
        return restored(destroyer(), pictures, self.piece)


@cache
def destroyer() -> PictureRestorer:
    """The embedded network."""
    return testbed.destroyer()
