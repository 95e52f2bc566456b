"""PPAP: guidance to a class by experts of noised latents, which judges of clean pictures taught."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import GuidedSampling, SamplingRequest
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.part_sampling import PartSampling
from intaglio.sampling.trained.timestep_experts import TimestepExperts


class LedState(NamedTuple):
    """Classifier-free guidance with its own state, the experts with the place of the class, and the batch."""

    inner: ClassifierFree
    kept: Conditioning
    experts: TimestepExperts
    place: int
    context: GuideContext


@dataclass(frozen=True, kw_only=True)
class Ppap(PartSampling, GuidedSampling):
    """PPAP: guidance to a class that judges of clean pictures know, by experts of noised latents.

    The noise ε, under classifier-free guidance, becomes

        ε - strength · n · ∇ₓ log p(target | x)

    for latents x with noise of the level n, where p is the expert of the timestep's range, which `intaglio sample train
    ppap` taught. With strength 1 and an expert that is exact this is the law of the class; more leads to its typical
    pictures. A step costs no further call of the denoiser, and a gradient of a small network.

    Source: arXiv 2212.05973, equation 5.
    """

    target: str = ""
    """The class, in the words that the experts were trained with."""
    strength: float = 7.5
    """Factor of the gradient, 0 or more."""

    bench: ClassVar[Sequence[Mapping[str, Any]]] = ()  # the bench has no part to give

    def __post_init__(self) -> None:
        if not 0 <= self.strength < math.inf:
            raise ValueError(f"strength must be 0 or more, and finite, not {self.strength}")

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` without experts of this model, and for a class that they do not know."""
        super().check(request)
        self._experts(request.model)

    def planned(self, request: SamplingRequest) -> Calls:
        """Those of the sampler's walk."""
        return Calls(forward=request.nodes * (1 if request.scale == 1 else 2))

    def init(self, context: GuideContext) -> LedState:
        """The state, which never changes."""
        inner = ClassifierFree(context.scale)
        return LedState(inner, inner.init(context), *self._experts(context.model), context)

    def step(
        self, state: LedState, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[LedState, Float[Tensor, "n *shape"]]:
        """The guided noise, led to the class."""
        _, noise = state.inner.step(state.kept, latents, t, predict)
        with torch.enable_grad():
            given = latents.detach().requires_grad_(True)
            (led,) = torch.autograd.grad(state.experts(given, t)[:, state.place].sum(), given)
        return state, noise - self.strength * state.context.level(t).noise * led

    def _experts(self, model: LatentDiffusion) -> tuple[TimestepExperts, int]:
        """The experts of the part, and the place of the class. Raises `BadInput` for another part or class."""
        part = self.trained(model)
        classes = part.settings["classes"]
        if self.target not in classes:
            told = (
                f"--target {self.target!r} is none of the classes of {self.part}"
                if self.target
                else "there is no target"
            )
            raise BadInput(f"{told}; give --target, one of {', '.join(map(repr, classes))}")
        experts = TimestepExperts(
            model.schedule, model.latent_channels, len(classes), part.settings["experts"], part.settings["seed"]
        )
        experts.load_state_dict(dict(part.tensors))
        return experts.requires_grad_(False).to(model.device), classes.index(self.target)
