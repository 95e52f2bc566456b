"""Perp-Neg: negative prompts, of which only the part that is perpendicular to the prompt's own direction acts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import GuidedSampling, SamplingRequest, negatives_of, refuse_same
from intaglio.sampling.guide import GuideContext, Predict

LEAST_SQUARE = 1e-6
"""Square of the length of the prompt's direction below which nothing is projected out."""


@dataclass(frozen=True, kw_only=True)
class PerpNeg(GuidedSampling):
    """Perp-Neg: negative prompts that cannot lead against the prompt.

    With ε of the prompt, of the empty prompt and of each negative one, d = ε(prompt) - ε("") and
    dᵢ = ε(negativeᵢ) - ε(""), all of one picture:

        ε("") + scale · (d - weight · Σ (dᵢ - ⟨dᵢ, d⟩ / ‖d‖² · d))

    so that what a negative prompt shares with the prompt is left as it is. The neutral branch is the empty prompt,
    never the negative one. Negative prompts are given apart by `|`. A step costs two calls and one for each of them.

    Source: arXiv 2304.04968, whose part on views of 3D objects is not here.
    """

    scale: float = 7.5
    """Guidance scale, 0 or more, in place of that of the sampling."""
    weight: float = 1.5
    """Weight of every negative prompt, 0 or more; with 0 it is classifier-free guidance."""

    own_guidance = True
    several_negatives = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = tuple({"scale": scale} for scale in (2.0, 4.0, 7.5))

    def __post_init__(self) -> None:
        for name in ("scale", "weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be 0 or more, and finite, not {getattr(self, name)}")

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` without a negative prompt, and for one that is a prompt too."""
        super().check(request)
        negatives = negatives_of(request.negative)
        if not negatives:
            raise BadInput("perp-neg leads away from negative prompts, and there is none; give --negative")
        refuse_same(request.prompts, negatives, self.name)

    def init(self, context: GuideContext) -> Conditioning:
        """The state is the conditioning of one pass: n rows each of the empty prompt, the prompts, each negative."""
        negatives = [context.embed(text, negative=True) for text in negatives_of(context.negative_text)]
        return Conditioning.cat([context.embed(""), context.positive, *negatives])

    def step(
        self, state: Conditioning, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Conditioning, Float[Tensor, "n *shape"]]:
        """The combined noise; the state never changes."""
        branches = len(state) // len(latents)
        found = predict(torch.cat([latents] * branches), torch.cat([t] * branches), state)
        neutral, positive, *negatives = found.chunk(branches)
        towards = positive - neutral
        away = sum((perpendicular(one - neutral, towards) for one in negatives), torch.zeros_like(towards))
        return state, neutral + self.scale * (towards - self.weight * away)

    def planned(self, request: SamplingRequest) -> Calls:
        """Two calls a node, and one for each negative prompt."""
        return Calls(forward=request.nodes * (2 + len(negatives_of(request.negative))))


def perpendicular(given: Float[Tensor, "n *shape"], direction: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
    """The part of each row that is perpendicular to the same row of a direction, over all its numbers."""
    a, b = given.flatten(1), direction.flatten(1)
    factor = (a * b).sum(1, keepdim=True) / b.square().sum(1, keepdim=True).clamp(min=LEAST_SQUARE)
    return (a - factor * b).view_as(given)
