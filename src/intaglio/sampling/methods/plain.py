"""Plain sampling: classifier-free guidance, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.sampling.calls import Calls
from intaglio.sampling.family import GuidedSampling, SamplingRequest
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree


@dataclass(frozen=True, kw_only=True)
class Plain(GuidedSampling):
    """The model's own sampling under classifier-free guidance.

    Source: arXiv 2207.12598.
    """

    role = "baseline"
    takes_distilled = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = tuple({"guidance": scale} for scale in (1.0, 2.0, 4.0, 7.0))

    def init(self, context: GuideContext) -> Any:
        """The guide at the context's scale, with its state."""
        guide = ClassifierFree(context.scale)
        return guide, guide.init(context)

    def step(
        self, state: Any, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Any, Float[Tensor, "n *shape"]]:
        """The combined noise; the state never changes."""
        guide, conditioning = state
        return state, guide.step(conditioning, latents, t, predict)[1]

    def planned(self, request: SamplingRequest) -> Calls:
        """One call a node, two with guidance that is not the model's own."""
        alone = request.scale == 1 or request.model.sampling.guidance != "outside"
        return Calls(forward=request.nodes * (1 if alone else 2))
