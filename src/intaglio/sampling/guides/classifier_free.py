"""Classifier-free guidance: away from the negative prompt, towards the prompt."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.sampling.guide import GuideContext, Predict


@dataclass(frozen=True)
class ClassifierFree:
    """Classifier-free guidance, arXiv 2207.12598: `negative + scale * (positive - negative)`, in noise.

    In this formulation a scale of 1 is the model's own prediction, without guidance; 3 to 10 is usual. Both branches
    go through the network in one batch and are combined in the precision of `predict`. A rule of the model's own, such
    as one that keeps the norm of the prompt's prediction, takes the line's place.
    """

    scale: float = 5.0
    """0 or more, finite."""

    def __post_init__(self):
        if not 0 <= self.scale < float("inf"):
            raise ValueError(f"the guidance scale must be 0 or more, and finite, not {self.scale}")

    def init(self, context: GuideContext) -> Conditioning:
        """The state is the conditioning of one pass: n negative rows before n positive ones, or these alone.

        A distilled model has its guidance baked in, or takes the scale as an input: it is asked once.
        """
        inside = context.model.sampling.guidance
        if inside == "input":
            return context.positive.under(self.scale)
        alone = inside == "baked" or self.scale == 1
        return context.positive if alone else Conditioning.cat([context.negative, context.positive])

    def step(
        self, state: Conditioning, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Conditioning, Float[Tensor, "n *shape"]]:
        """The combined noise; the state never changes."""
        if len(state) == len(latents):
            return state, predict(latents, t, state)
        negative, positive = predict(torch.cat([latents, latents]), torch.cat([t, t]), state).chunk(2)
        if state.rule is not None:
            return state, state.rule(latents, t, negative, positive, self.scale)
        return state, negative + self.scale * (positive - negative)
