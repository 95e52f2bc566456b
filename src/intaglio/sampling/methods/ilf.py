"""ILF: steps of a sampler that spare a part of the denoiser, by features of the step before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.models.capabilities import HasUNet
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.unet_inner import InnerFeatures
from intaglio.sampling.calls import Calls, Predict
from intaglio.sampling.family import GuidedSampling, SamplingRequest
from intaglio.sampling.grid import timestep_of
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.inner_feedback import InnerLoop
from intaglio.sampling.part_sampling import PartSampling


@dataclass(frozen=True, kw_only=True)
class InnerLoopFeedback(PartSampling, GuidedSampling):
    """ILF: inner steps between full ones, on features that a trained block feeds back.

    After each full step at t, `inner` steps of the sampler's grid run a part of the denoiser alone, its lowest
    resolutions. With hₐ the features that enter the part on the down side, h_b those that leave it on the up side, and
    F and γ as they were trained, an inner step at t - r changes the features of the step before by

        hₐ + γ · F(h_b, hₐ, t - r), whereupon the part runs again (trained with `--reenter down`), or
        h_b + γ · F(h_b, hₐ, t - r), where F stands for the part (`--reenter up`).

    The up side above it runs in either case, at t - r and on the down features of the full step. Each branch of
    guidance has its own features. With γ = 0 they are kept as they are, which is caching. Beside the calls, inner steps
    are counted by their share of a call's multiplications; compare with as many full steps as that is worth, and with
    caching.

    Source: arXiv 2501.13107, for transformers, with no code. All that concerns the U-Net is our own design: where hₐ
    and h_b are, that F is a copy of a layer that joins their widths and sees both, and `up`, which is cheaper.
    """

    needs: ClassVar[tuple[type, ...]] = (*GuidedSampling.needs, HasUNet)
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
        part = self.trained(context.model)
        loop = InnerLoop.trained(context.model, part, self.gamma)
        return _LoopState(loop, context, ClassifierFree(context.scale).init(context), int(part.facts["thousandths"]))

    def step(
        self, state: "_LoopState", latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple["_LoopState", Float[Tensor, "n *shape"]]:
        """The noise under guidance, by a full step or an inner one, and the state with its features."""
        place = state.context.timesteps.index(timestep_of(t))
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
        branches, share = 1 if request.scale == 1 else 2, int(self.trained(request.model).facts["thousandths"])
        return Calls(forward=branches * full, thousandths=branches * (sum(asked) - full) * share)


@dataclass(frozen=True, eq=False)
class _LoopState:
    """The state between two steps."""

    loop: InnerLoop
    context: GuideContext
    conditioning: Conditioning
    thousandths: int
    """Of a call, for an inner step."""
    features: InnerFeatures | None = None
