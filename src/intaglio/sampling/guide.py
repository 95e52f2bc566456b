"""The contract of guides, which combine noise predictions inside a sampler's loop."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.calls import Calls, Predict
from intaglio.sampling.grid import NoiseLevel, level_at, timestep_of

__all__ = ["Guide", "GuideContext", "MovingGuide", "Predict"]


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
    timesteps: tuple[int | float, ...]
    """from the noisiest on"""
    scale: float
    """the guidance scale that was asked for; 1 is none"""
    negative_text: str = ""
    """the negative prompt"""
    calls: Calls = field(default_factory=Calls)
    """rows that went through networks so far; whoever asks a network counts them here"""
    seeds: tuple[int, ...] = ()
    """n seeds of the pictures; empty where they have none"""

    def embed(self, text: str | Sequence[str], *, negative: bool = False) -> Conditioning:
        """Conditioning of n rows: of one text for all, or of n texts; with `negative` to be led away from."""
        if isinstance(text, str):
            return self.model.embed([text], negative=negative)[[0] * len(self.prompts)]
        return self.model.embed(list(text), negative=negative)

    def level(self, t: Real[Tensor, "n"]) -> NoiseLevel:
        """The noise level of a batch's timestep."""
        return level_at(self.model.schedule, timestep_of(t))

    def decode(
        self, latents: Float[Tensor, "n c h w"], *, clamp: bool = True, spare_failed: bool = False
    ) -> Float[Tensor, "n colours hp wp"]:
        """Pixels of latents, counted; without `clamp` values beyond [0, 1] keep their gradients.

        With `spare_failed`, a picture that is not finite is given as NaN, in place of an error.
        """
        self.calls.decodes += len(latents)
        return self.model.decode(latents, clamp=clamp, spare_failed=spare_failed)


@runtime_checkable
class Guide(Protocol):
    """Combines predictions inside the loop: a pure function of an explicit state, called by the sampler's loop."""

    def init(self, context: GuideContext) -> Any:
        """The state before the first step."""
        ...

    def step(
        self, state: Any, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Any, Float[Tensor, "n *shape"]]:
        """The next state, and the noise prediction that the sampler shall use."""
        ...


@runtime_checkable
class MovingGuide(Guide, Protocol):
    """A guide that also shifts the latents themselves, once at each node of the grid before its step.

    A shift of the latents is no change of the noise for more than one sampler, so it is a call of its own; Heun's trial
    point is not shifted. Gradients are off in the loop: a guide that wants one opens `torch.enable_grad` on detached
    latents.
    """

    def move(
        self, state: Any, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Any, Float[Tensor, "n *shape"]]:
        """The next state, and the latents that the sampler shall go on from."""
        ...
