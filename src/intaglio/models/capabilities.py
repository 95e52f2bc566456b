"""Protocols for the capabilities of models, and the check that a model has those that a method needs.

A method lists the protocols in its class variable `needs`; no method depends on the class of a model's networks.
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int, Real
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning


@runtime_checkable
class Encodes(Protocol):
    """Turns pictures into latents and back."""

    factor: Any

    def encode(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c hl wl"]:
        """Latents of pictures in [0, 1]; `factor` is the number of pixels along a side of one latent cell."""
        ...

    def decode(self, latents: Float[Tensor, "n c hl wl"]) -> Float[Tensor, "n 3 h w"]:
        """Pictures in [0, 1]."""
        ...


@runtime_checkable
class ReadsPrompts(Protocol):
    """Embeds prompts as the conditioning of its denoiser."""

    def embed(self, prompts: Sequence[str], *, negative: bool = False) -> Conditioning:
        """Conditioning of the prompts, a row each; of prompts that are led away from, with `negative`."""
        ...


@runtime_checkable
class HasTextEncoders(Protocol):
    """Reads prompts as tokens that can be changed one by one."""

    tokenizers: Any
    text_encoders: Any

    def tokens(self, prompts: Sequence[str]) -> list[Int[Tensor, "n _"]]:
        """Tokens of the prompts for each text encoder."""
        ...

    def embed_tokens(self, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Conditioning of prompts that are given as tokens."""
        ...


@runtime_checkable
class PredictsNoise(Protocol):
    """Predicts the noise in noised latents at a timestep of its schedule: a diffusion model."""

    schedule: Any

    def noised(self, latents: Tensor, noise: Tensor, t: Real[Tensor, "n"]) -> Tensor:
        """The forward process at integer timesteps."""
        ...

    def predict(self, latents: Tensor, t: Real[Tensor, "n"], conditioning: Conditioning) -> Tensor:
        """The noise predicted in noised latents."""
        ...

    def error(self, latents: Tensor, noise: Tensor, t: Real[Tensor, "n"], conditioning: Conditioning) -> Tensor:
        """Denoising loss: mean squared error against the training target, a number a row."""
        ...


@runtime_checkable
class HasWeights(Protocol):
    """Gives access to the weights of its networks."""

    parts: Any

    def copy(self) -> Any:
        """A model with weights of its own."""
        ...


class _ByDenoiser(type):
    """Makes `isinstance` ask for the class of a model's denoiser."""

    def __instancecheck__(cls, instance: Any) -> bool:
        denoiser = getattr(instance, "denoiser", None)
        return any(kind.__name__ == "UNet2DConditionModel" for kind in type(denoiser).__mro__)


class HasUNet(metaclass=_ByDenoiser):
    """Denoises with a U-Net, whose modules are changed or read."""


@runtime_checkable
class HasLikelihood(Protocol):
    """Gives pictures an exact likelihood, and pictures for noise: a normalizing flow."""

    config: Any

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Latents of pictures, and the log-determinant of the map."""
        ...

    def pictures(self, patches: Float[Tensor, "n t c"]) -> Tensor:
        """Pictures put together from patches."""
        ...


def check_needs(method: Any, *models: Any) -> None:
    """Raises `BadInput` for a model that lacks a capability in `method.needs`; called before any work."""
    for model in models:
        lacking = [need for need in method.needs if not isinstance(model, need)]
        if lacking:
            what = ", ".join(_first_words(need) for need in lacking)
            name = getattr(model, "name", type(model).__name__)
            raise BadInput(f"{method.name} needs a model that {what}; {name} does not: choose another method or model")


def _first_words(need: type) -> str:
    """The first sentence of a protocol's docstring, as the middle of a sentence."""
    first = (need.__doc__ or need.__name__).partition("\n")[0]
    words = re.split(r"[.:]", first)[0]
    return words[0].lower() + words[1:]
