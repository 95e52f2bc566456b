"""The families that are known, and the one that a denoiser belongs to."""

from typing import Any

from intaglio.models.diffusion.families.chroma import Chroma
from intaglio.models.diffusion.families.family import Family
from intaglio.models.diffusion.families.flux1 import Flux1
from intaglio.models.diffusion.families.flux2 import Flux2Klein
from intaglio.models.diffusion.families.pixart_sigma import PixArtSigma
from intaglio.models.diffusion.families.qwen_image import QwenImage
from intaglio.models.diffusion.families.sd3 import StableDiffusion3
from intaglio.models.diffusion.families.unets import UNets
from intaglio.models.diffusion.families.zimage import ZImage

FAMILIES: tuple[Family, ...] = (
    UNets(),
    StableDiffusion3(),
    Flux1(),
    ZImage(),
    Flux2Klein(),
    QwenImage(),
    Chroma(),
    PixArtSigma(),
)
NAMES = ", ".join(family.name for family in FAMILIES)
"""In words, for errors."""

FILE_NAMES = ", ".join(one.name for one in FAMILIES if one.folder == "unet" or one.original_names is not None)
"""In words, the families whose single files are read."""


def family_of(denoiser: Any) -> Family:
    """The family of a denoiser in memory, by its class; a network of another one stands in for a U-Net."""
    found = {type(denoiser).__name__, *(kind.__name__ for kind in type(denoiser).__mro__)}
    return next((family for family in FAMILIES if family.denoiser in found), FAMILIES[0])


def family_of_class(name: str | None) -> Family | None:
    """The family whose denoiser or pipeline is of a class of diffusers; None for a class that is not known."""
    return next((one for one in FAMILIES if name in (one.denoiser, *one.earlier_denoisers, *one.pipelines)), None)
