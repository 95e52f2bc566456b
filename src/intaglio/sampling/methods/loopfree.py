"""Loopfree: one pass of the U-Net's encoder for all steps, whose decoders run in one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.errors import require
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.unet_halves import refuse_no_halves
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import GuidedSampling, SamplingRequest
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.shared_pass import SharedPass


@dataclass(frozen=True, kw_only=True)
class Loopfree(GuidedSampling):
    """Loopfree: the U-Net's encoder runs once, at the first step, its decoder at each.

    With E the first convolution, the down blocks and the middle block, and D the up blocks and the output, step k of a
    grid t_1 > t_2 > ... takes the noise D(E(x_1, t_1), t_k), under classifier-free guidance, in place of
    D(E(x_k, t_k), t_k). No decoder waits for the step before it, so that those of several steps run in one batch.

    For a student of `intaglio distill tiue` this is the sampling that it was trained for. For any other model it is
    an approximation by one encoder pass, good at one step, where it is exact, and worse the more steps there are: the
    baseline that the student is measured against.

    Calls are counted by decoder passes, one a step and branch of the guidance, though each costs less than a call of
    the network: the encoder's part is spent once.

    Source: arXiv 2505.21960.
    """

    role = "baseline"
    takes_distilled = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = tuple({"guidance": 4.0, "steps": steps} for steps in (2, 4, 20))

    at_once: int = 4
    """Steps whose decoders run in one batch, 1 or more; the pictures are the same, up to rounding."""

    def __post_init__(self) -> None:
        require(self.at_once >= 1, f"at_once must be at least 1, not {self.at_once}")

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` for a model without a U-Net."""
        super().check(request)
        refuse_no_halves(request.model, self.name)

    def init(self, context: GuideContext) -> Any:
        """The guide at the context's scale, its state, and the pass that all steps share."""
        guide = ClassifierFree(context.scale)
        return _State(guide, guide.init(context), SharedPass(context.model, context.timesteps, self.at_once))

    def step(
        self, state: Any, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Any, Float[Tensor, "n *shape"]]:
        """The combined noise; the shared pass keeps what later steps take from it."""

        def shared(x: Tensor, times: Tensor, given: Conditioning) -> Tensor:
            return state.passed.noise(x, times, given, predict)

        return state, state.guide.step(state.conditioning, latents, t, shared)[1]

    def planned(self, request: SamplingRequest) -> Calls:
        """One decoder pass a step, two with guidance that is not the model's own, whatever the sampler."""
        alone = request.scale == 1 or request.model.sampling.guidance != "outside"
        return Calls(forward=request.steps * (1 if alone else 2))


class _State(NamedTuple):
    """State of a walk, the same at all steps."""

    guide: ClassifierFree
    conditioning: Conditioning
    passed: SharedPass
