"""The contract of guides, which combine noise predictions inside a sampler's loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

Predict = Callable[[Tensor, Tensor, Conditioning], Tensor]
"""(latents [n, ...], t [n], conditioning of n rows) to the noise [n, ...], float32; `LatentDiffusion.predict`."""


@dataclass(frozen=True)
class GuideContext:
    """The batch of n pictures that is being drawn."""

    model: LatentDiffusion
    prompts: tuple[str, ...]
    """n texts"""
    positive: Conditioning
    """the prompts, n rows"""
    negative: Conditioning
    """the negative prompt, n rows"""
    timesteps: tuple[int, ...]
    """from the noisiest on"""
    scale: float
    """the guidance scale that was asked for; 1 is none"""


@runtime_checkable
class Guide(Protocol):
    """Combines predictions inside the loop: a pure function of an explicit state, called by the sampler's loop."""

    def init(self, context: GuideContext) -> Any:
        """The state before the first step."""
        ...

    def step(
        self, state: Any, latents: Float[Tensor, "n *shape"], t: Int[Tensor, "n"], predict: Predict
    ) -> tuple[Any, Float[Tensor, "n *shape"]]:
        """The next state, and the noise prediction that the sampler shall use."""
        ...
