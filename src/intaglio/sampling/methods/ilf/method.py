"""ILF: steps of a sampler of which most of the down side is spared, by features of the step before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.unet_inner import InnerFeatures
from intaglio.sampling.calls import Calls, Predict
from intaglio.sampling.family import GuidedSampling, SamplingRequest
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.inner_feedback import InnerLoop
from intaglio.sampling.part_sampling import PartSampling


@dataclass(frozen=True, kw_only=True)
class InnerLoopFeedback(PartSampling, GuidedSampling):
    """ILF: inner steps between full ones, on features that a trained block feeds back.

    After each full step at t, `inner` steps of the sampler's grid run a part of the denoiser alone. With hₐ the input
    of the part's first block and h_b the output of its last, at the step before,

        hₐ(t - r) = hₐ(t) + γ · F(h_b(t), hₐ(t), t - r),

    and the part runs from there at the time t - r, then the up side above it, on the down features of the full step.
    F and γ are the trained part. Each branch of classifier-free guidance has its own features. With γ = 0 the features
    are kept as they are, which is caching. What an inner step costs is told beside the calls, as its share of a call by
    multiplications; the time saved is less than by as many steps less, which is what to compare with.

    Source: arXiv 2501.13107, for transformers, with no code. On a U-Net the places of a and b, the copy of F and that
    it sees hₐ too are our own design.
    """

    inner: int = 1
    """Inner steps after each full one, 0 or more; 0 is the model's own drawing."""
    gamma: float | None = None
    """Scale factor γ of the feedback in place of the trained one, any number; 0 is caching, None the trained one."""

    # The bench has no part to give.
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ()

    def __post_init__(self) -> None:
        if self.inner < 0:
            raise ValueError(f"inner must be 0 or more, not {self.inner}")
        if self.gamma is not None and not abs(self.gamma) < float("inf"):
            raise ValueError(f"gamma must be finite, or None for the trained one, not {self.gamma}")

    def init(self, context: GuideContext) -> "_LoopState":
        """The state is the loop, the branches' conditioning, and the features of the last step."""
        loop = InnerLoop.trained(context.model, self.trained(context.model), self.gamma)
        conditioning = ClassifierFree(context.scale).init(context)
        return _LoopState(loop, context, conditioning, loop.thousandths() if self.inner else 0)

    def step(
        self, state: "_LoopState", latents: Float[Tensor, "n *shape"], t: Int[Tensor, "n"], predict: Predict
    ) -> tuple["_LoopState", Float[Tensor, "n *shape"]]:
        """The noise under guidance, by a full step or an inner one, and the state with its features."""
        place = state.context.timesteps.index(int(t[0]))
        kept, loop, calls = list[InnerFeatures](), state.loop, state.context.calls

        def asked(x: Tensor, at: Tensor, given: Conditioning) -> Tensor:
            if place % (1 + self.inner) == 0 or state.features is None:
                noise, found = loop.full(x, at, given, predict)
            else:
                calls.thousandths += state.thousandths * len(x)
                noise, found = loop.step(state.features, x, at, given)
            kept.append(found)
            return noise

        _, noise = ClassifierFree(state.context.scale).step(state.conditioning, latents, t, asked)
        return replace(state, features=kept[0]), noise

    def planned(self, request: SamplingRequest) -> Calls:
        """Calls of full steps, and inner steps by their share of one."""
        asked = [1 if place == 0 or request.nodes == request.steps else 2 for place in range(request.steps)]
        full = sum(asked[:: 1 + self.inner])
        branches, left = 1 if request.scale == 1 else 2, sum(asked) - full
        share = InnerLoop.trained(request.model, self.trained(request.model), 0.0).thousandths() if left else 0
        return Calls(forward=branches * full, thousandths=branches * left * share)


@dataclass(frozen=True, eq=False)
class _LoopState:
    """What one step leaves to the next."""

    loop: InnerLoop
    context: GuideContext
    conditioning: Conditioning
    thousandths: int
    """Share of an inner step of a call."""
    features: InnerFeatures | None = None
