"""Purifiers by the names that `protect evaluate` and benches call them: methods of `protect purify` with strengths."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.family import Purifier
from intaglio.protect.purify.methods.blur import Blurring
from intaglio.protect.purify.methods.ddsp import DDSP
from intaglio.protect.purify.methods.diffuse import Diffusing
from intaglio.protect.purify.methods.jpeg import JPEGCompression
from intaglio.protect.purify.methods.median import MedianFilter
from intaglio.protect.purify.methods.noise import AddedNoise
from intaglio.protect.purify.methods.noisy_upscale import NoisyUpscaling
from intaglio.protect.purify.methods.resize import Resizing
from intaglio.protect.purify.methods.round_trip import RoundTrip
from intaglio.protect.purify.methods.tv import TotalVariation


@dataclass(frozen=True, kw_only=True)
class _Untouched(Purifier):
    """Pictures as they are, which the others are measured against."""

    @property
    def label(self) -> str:
        return "none"

    @property
    def words(self) -> str:
        return "left as they are"

    def clean(
        self, pictures: Float[Tensor, "n 3 h w"], model: LatentDiffusion | None, seed: int
    ) -> Float[Tensor, "n 3 h w"]:
        return pictures


_EVERY = (
    _Untouched(),
    JPEGCompression(quality=90),
    JPEGCompression(quality=75),
    JPEGCompression(quality=50),
    Resizing(),
    Blurring(),
    MedianFilter(),
    AddedNoise(),
    TotalVariation(),
    DDSP(),
    RoundTrip(),
    Diffusing(),
    NoisyUpscaling(),
)
PURIFIERS: Mapping[str, Purifier] = {one.label: one for one in _EVERY}
"""By label."""
