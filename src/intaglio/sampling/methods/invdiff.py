"""InvDiff: drawing by a biased denoiser and the one that was trained beside it, mixed in each step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.calls import Calls, Predict
from intaglio.sampling.family import GuidedSampling, SamplingRequest
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.part_sampling import PartSampling
from intaglio.sampling.trained.mixed_denoiser import learnt_model


class Learnt(NamedTuple):
    """The model with δ in the place of its denoiser, and the share of δ."""

    model: LatentDiffusion
    kappa: float


class Mixture(NamedTuple):
    """The state: classifier-free guidance with its own state, δ, and the batch."""

    inner: ClassifierFree
    kept: Conditioning
    learnt: Learnt
    context: GuideContext


@dataclass(frozen=True, kw_only=True)
class InvDiff(PartSampling, GuidedSampling):
    """InvDiff: drawing with a second denoiser beside the model's own, which is to lessen its bias.

    The noise prediction becomes

        (1 - kappa) · ε + kappa · δ,

    under classifier-free guidance as ever, where δ is the denoiser that `intaglio sample train invdiff` taught. No
    label of a bias is asked for, in the training or here. A step costs twice the calls, one of each denoiser for each
    branch of the guidance.

    Source: arXiv 2412.08480.
    """

    kappa: float | None = None
    """Share of δ, in [0, 1]: None is that of the training, 0 the model itself, between them a part of the change, and
    above it more than was trained, up to δ alone. One network is asked at 0, and at 1."""

    bench: ClassVar[Sequence[Mapping[str, Any]]] = ()  # the bench has no part to give

    def __post_init__(self) -> None:
        if self.kappa is not None and not 0 <= self.kappa <= 1:
            raise ValueError(f"kappa must be in [0, 1], or None for the trained one, not {self.kappa}")

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` without the file, and for one of another trainer or model."""
        self._read.clear()
        super().check(request)

    def planned(self, request: SamplingRequest) -> Calls:
        """One call of each denoiser a node, two with guidance."""
        kappa = self._learnt(request.model).kappa if self.kappa is None else self.kappa
        asked = (1 if request.scale == 1 else 2) * (1 if kappa in (0, 1) else 2)
        return Calls(forward=request.nodes * asked)

    def init(self, context: GuideContext) -> Mixture:
        """The state, which never changes."""
        inner = ClassifierFree(context.scale)
        return Mixture(inner, inner.init(context), self._learnt(context.model), context)

    def step(
        self, state: Mixture, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Mixture, Float[Tensor, "n *shape"]]:
        """The mixed noise under guidance."""
        kappa, second = state.learnt.kappa, state.context.calls.counted(state.learnt.model.predict)

        def mixed(x: Tensor, at: Tensor, given: Conditioning) -> Tensor:
            if kappa == 0:
                return predict(x, at, given)
            moved = second(x, at, given)
            return moved if kappa == 1 else (1 - kappa) * predict(x, at, given) + kappa * moved

        return state, state.inner.step(state.kept, latents, t, mixed)[1]

    @cached_property
    def _read(self) -> dict[str, Learnt]:
        """The part as it was last checked, for one model: a whole denoiser is not read again for each batch."""
        return {}

    def _learnt(self, model: LatentDiffusion) -> Learnt:
        """The learnt denoiser and its share. Raises `BadInput` for another part."""
        key = f"{model.fingerprint} {model.device}"
        if key not in self._read:
            part = self.trained(model)
            kappa = float(part.facts["kappa"]) if self.kappa is None else self.kappa
            self._read.clear()
            self._read[key] = Learnt(learnt_model(model, part), kappa)
        return self._read[key]
