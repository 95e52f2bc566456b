"""SAFREE: prompts whose words for unwanted concepts are turned away from them, in the space of token embeddings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.capabilities import Encodes, HasTextEncoders, PredictsNoise, ReadsPrompts
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.calls import Calls
from intaglio.sampling.concept_filter import filtered_rows, pooled, prompt_tokens
from intaglio.sampling.family import GuidedSampling, SamplingRequest, negatives_of
from intaglio.sampling.grid import timestep_of
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree


class FilteredPrompts(NamedTuple):
    """The state: the conditioning of n pictures with and without the filter, and for how long it serves."""

    plain: Conditioning
    """n negative rows before n positive ones, or these alone where there is no guidance."""
    filtered: Conditioning
    nodes: Int[Tensor, "n"]
    """Timesteps of each picture, from the noisiest on, at which it is given its filtered prompt."""
    timesteps: tuple[int | float, ...]
    guide: ClassifierFree


@dataclass(frozen=True, kw_only=True)
class Safree(GuidedSampling):
    """SAFREE: drawing without given concepts, by a filter of the prompt's token embeddings.

    Words whose absence takes the prompt away from the concepts are triggers; their embeddings are projected off the
    concepts' span, within the span of the prompt with each word masked. The less the projection leaves of the prompt,
    the more of the first steps are given the filtered one; the others are given the prompt as it is. Classifier-free
    guidance goes on as ever, and nothing is trained. A step costs two calls.

    Source: arXiv 2410.12761, its filter of tokens; the re-attention of latents by frequencies is not here.
    """

    concepts: str = ""
    """Concepts to be left out, apart by `|`, such as `openmoji style | black outline`."""
    alpha: float = 0.01
    """How much farther than the mean a masked prompt must lie from the concepts for a trigger, 0 or more."""
    upto: float = 0.2
    """Share of the steps that the filtered prompt serves at most, in [0, 1], beside the first."""
    slope: float = 2.5
    """Slope k of the sigmoid from the prompt's distance to that share, above 0; the authors take 3.5 for artists."""
    threshold: float = 5.333
    """Ten times the distance at which half of that share is taken; the authors take 5.5 for artists."""

    needs = (Encodes, ReadsPrompts, PredictsNoise, HasTextEncoders)
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({"concepts": "black outline"},)

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < math.inf:
            raise ValueError(f"alpha must be 0 or more, and finite, not {self.alpha}")
        if not 0 <= self.upto <= 1:
            raise ValueError(f"upto must be in [0, 1], not {self.upto}")
        if not 0 < self.slope < math.inf or not math.isfinite(self.threshold):
            raise ValueError(f"slope must be above 0, threshold finite, not {self.slope} and {self.threshold}")

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` where no concept is given."""
        super().check(request)
        if not negatives_of(self.concepts):
            raise BadInput("safree leaves concepts out, and there is none; give --concepts")

    def init(self, context: GuideContext) -> FilteredPrompts:
        """The state is both conditionings of one pass, and the filtered one's timesteps."""
        concepts = pooled(context.model, negatives_of(self.concepts))
        known = {text: self._filtered(context.model, text, concepts) for text in dict.fromkeys(context.prompts)}
        hidden, nodes = context.positive.hidden.clone(), []
        for row, text in enumerate(context.prompts):
            changes, distance = known[text]
            for places, columns, rows in changes:
                hidden[row, places, columns] = rows
            nodes.append(self._nodes(distance, len(context.timesteps)))
        guide = ClassifierFree(context.scale)
        positive = replace(context.positive, hidden=hidden)
        filtered = positive if context.scale == 1 else Conditioning.cat([context.negative, positive])
        return FilteredPrompts(guide.init(context), filtered, torch.tensor(nodes), context.timesteps, guide)

    def step(
        self, state: FilteredPrompts, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[FilteredPrompts, Float[Tensor, "n *shape"]]:
        """The guided noise of the filtered or the plain prompt; the state never changes."""
        place = state.timesteps.index(timestep_of(t)) if timestep_of(t) in state.timesteps else len(state.timesteps)
        early = (state.nodes > place).to(state.plain.hidden.device)
        rows = early.repeat(len(state.plain) // len(early))
        hidden = torch.where(rows.view(-1, 1, 1), state.filtered.hidden, state.plain.hidden)
        given = replace(state.plain, hidden=hidden)
        return state, state.guide.step(given, latents, t, predict)[1]

    def planned(self, request: SamplingRequest) -> Calls:
        """One call a node, two with guidance."""
        return Calls(forward=request.nodes * (1 if request.scale == 1 else 2))

    def _filtered(
        self, model: LatentDiffusion, prompt: str, concepts: list[Tensor]
    ) -> tuple[list[tuple[slice, slice, Tensor]], float]:
        """For each text encoder the places, columns and embeddings of the prompt's tokens; and the mean distance."""
        changes, distances = [], []
        for tokens, pooled_concepts in zip(prompt_tokens(model, prompt), concepts, strict=True):
            found = filtered_rows(tokens.hidden, tokens.masked, pooled_concepts, self.alpha)
            changes.append((tokens.places, tokens.columns, found.rows))
            distances.append(found.distance)
        return changes, sum(distances) / len(distances)

    def _nodes(self, distance: float, steps: int) -> int:
        """Steps of the filtered prompt: round(U σ(2k (10β - t0))) + 1, with U a share of all steps."""
        inner = 2 * self.slope * (10 * distance - self.threshold)
        return round(self.upto * steps / (1 + math.exp(-inner))) + 1
