"""The families that are known, and the one that a denoiser belongs to."""

from collections.abc import Iterable, Mapping
from typing import Any

from intaglio.models.diffusion.families.auraflow import AuraFlow
from intaglio.models.diffusion.families.chroma import Chroma
from intaglio.models.diffusion.families.family import Family
from intaglio.models.diffusion.families.flux1 import Flux1
from intaglio.models.diffusion.families.flux2 import Flux2Klein
from intaglio.models.diffusion.families.flux2_dev import Flux2Dev
from intaglio.models.diffusion.families.lumina2 import Lumina2
from intaglio.models.diffusion.families.pixart_sigma import PixArtSigma
from intaglio.models.diffusion.families.qwen_image import QwenImage
from intaglio.models.diffusion.families.sana import Sana
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
    Lumina2(),
    AuraFlow(),
    Sana(),
    Flux2Dev(),
)


def _listed(families: Iterable[Family]) -> str:
    *others, last = [family.name for family in families]
    return f"{', '.join(others)} or {last}"


NAMES = _listed(FAMILIES)
"""In words, for errors."""

FILE_NAMES = _listed(one for one in FAMILIES if one.folder == "unet" or one.original_names is not None)
"""In words, the families whose single files are read."""


def family_of(denoiser: Any) -> Family:
    """The family of a denoiser in memory, by its class; a network of another one stands in for a U-Net."""
    found = {type(denoiser).__name__, *(kind.__name__ for kind in type(denoiser).__mro__)}
    known = (family for family in FAMILIES if family.denoiser in found)
    return next((family for family in known if family.takes(getattr(denoiser, "config", {}))), FAMILIES[0])


def family_of_class(name: str | None, config: Mapping[str, Any] | None = None) -> Family | None:
    """The family whose denoiser or pipeline is of a class of diffusers; None for a class that is not known.

    `config` has a denoiser's settings, by which families that share its class are told apart.
    """
    known = (one for one in FAMILIES if name in (one.denoiser, *one.earlier_denoisers, *one.pipelines))
    return next((one for one in known if config is None or one.takes(config)), None)
