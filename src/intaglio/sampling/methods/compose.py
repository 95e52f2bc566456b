"""Noise refinement for composition: latents are moved to where attention keeps a prompt's entities apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.capabilities import HasUNet
from intaglio.runs.run import Run
from intaglio.sampling.attention_maps import cross_attentions
from intaglio.sampling.calls import Calls
from intaglio.sampling.composition.second_pass import SecondPass
from intaglio.sampling.family import SamplingMethod, SamplingRequest
from intaglio.sampling.guides.composition import CompositionGuidance, moves_of
from intaglio.sampling.sampling_batch import SamplingBatch
from intaglio.sampling.scenes.recognition import SceneCheck
from intaglio.sampling.verifiers.scene import SceneVerifier


@dataclass(frozen=True, kw_only=True)
class Compose(SamplingMethod):
    """Noise refinement: latents moved, early on, to where attention keeps a prompt's entities apart.

    At node i of the first `share` of N nodes, before classifier-free guidance,

        x ← x - rate · sqrt(1 - i / (2 (N - 1))) · ∇ L,     no farther than limit · ‖x‖

    with L on the cross-attention of the prompt's branch alone, mean over heads and blocks of one resolution, a softmax
    over the prompt's tokens: entities missing, Σᵢ max(0, 1 - mean over j≠i of max (aᵢ - aⱼ)₊), a = 1000 A / ΣA; mixing,
    Σ IoU(Aᵢ, Aⱼ); binding, Σ (1 - IoU(colour, noun)), IoU = Σab / Σ(a + b); and for `left of`, in place of mixing,
    σ(E[A₁] - E[A₂]) of columns. An entity is the word after a colour's, such as `red circle`; prompts without one are
    drawn plainly. A move costs a call and a gradient.

    With `again`, pictures of which the exact parser (verifier `scene`) does not find an entity are drawn a second time
    after one further move for that entity, and what meets more constraints is kept. The source asks a network that
    answers questions on the picture and on crops of it in the parser's place.

    Source: noise refinement for compositional generation, its released code.
    """

    needs: ClassVar[tuple[type, ...]] = (*SamplingMethod.needs, HasUNet)
    rate: float = 20.0
    """Factor of the gradient, 0 or more."""
    share: float = 0.5
    """Share of the nodes at which latents are moved, the noisiest, in [0, 1]."""
    limit: float = 0.02
    """Longest move over the length of the latents, above 0."""
    map_side: int = 16
    """Places along a side of the finest attention maps that are used, 1 or more."""
    nouns: tuple[str, ...] = ()
    """Words that are the entities, in place of those after a colour's."""
    again: bool = False
    """Draw pictures again of which an entity is not shown; prompts must be such as `a red circle and a blue square`."""

    plan_is_exact = False
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.rate < float("inf"):
            raise ValueError(f"rate must be 0 or more, and finite, not {self.rate}")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be in [0, 1], not {self.share}")
        if not 0 < self.limit < float("inf"):
            raise ValueError(f"limit must be above 0, and finite, not {self.limit}")
        if self.map_side < 1:
            raise ValueError(f"map_side must be 1 or more, not {self.map_side}")
        if any(not noun.strip() for noun in self.nouns):
            raise ValueError("nouns must be words, and one is empty")
        if self.again and self.nouns:
            raise ValueError(
                "again takes the entities of the parser's grammar, and nouns names others; give one of them"
            )

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` for a model without cross-attention and, with `again`, for prompts that are no scenes."""
        super().check(request)
        if not cross_attentions(request.model.denoiser):
            raise BadInput(f"compose moves latents by cross-attention, and {request.model.name} has none")
        if self.again:
            SceneVerifier().check(request.prompts)

    def planned(self, request: SamplingRequest) -> Calls:
        """The sampler's nodes, and a call and a gradient for each move; twice with `again`, and its judgements."""
        moves = moves_of(self.share, request.steps)
        once = Calls(forward=request.nodes * (1 if request.scale == 1 else 2) + moves, backward=moves)
        more = Calls(forward=1, backward=1, decodes=2, verifications=2)
        return once.times(2) + more if self.again else once

    def latents(self, batch: SamplingBatch) -> Float[Tensor, "n c h w"]:
        """By the walk of the batch's sampler, moved on its way."""
        guide = CompositionGuidance(self.rate, self.share, self.limit, self.map_side, self.nouns)
        first = batch.walk(guide)
        if not self.again:
            return first
        checks = _judged(batch, first)
        faulty = tuple(tuple(k for k, there in enumerate(check.bound) if not there) for check in checks)
        better = torch.zeros(len(first), dtype=torch.bool, device=first.device)
        if any(faulty):
            with Run.none().progress(0, "again") as silent:  # the batch's own counts each node once
                second = replace(batch, progress=silent).walk(replace(guide, faulty=faulty))
            found = zip(checks, _judged(batch, second), faulty, strict=True)
            better = torch.tensor([bool(words) and b.share > a.share for a, b, words in found], device=first.device)
            first = torch.where(better.view(-1, 1, 1, 1), second, first)
        batch.told(SecondPass(len(first), sum(map(bool, faulty)), int(better.sum())))
        return first

    def reading_of(self, traces: Sequence[SecondPass]) -> str:
        """Counts of pictures that were drawn again, and of those that gained."""
        pictures, faulty, better = (
            sum(getattr(one, name) for one in traces) for name in ("pictures", "faulty", "better")
        )
        return f"{faulty} of {pictures} pictures lacked an entity and were drawn again; {better} are better for it"


def _judged(batch: SamplingBatch, latents: Float[Tensor, "n c h w"]) -> list[SceneCheck]:
    """Constraints that each picture meets, counted; one that failed meets none."""
    context = batch.context
    pixels = context.decode(latents, spare_failed=True)
    context.calls.verifications += len(latents)
    return SceneVerifier().checks(torch.nan_to_num(pixels, nan=1.0), context.prompts)
