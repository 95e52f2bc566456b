"""STSL: a picture recovered from a measurement of it, by guidance that heeds how far the clean latents may lie."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingMethod, SamplingRequest
from intaglio.sampling.guides.measurement_guidance import MeasurementGuidance
from intaglio.sampling.operator import Operator
from intaglio.sampling.operator_names import check_operator, exact_picture, operator_of
from intaglio.sampling.samplers import ancestral
from intaglio.sampling.sampling_batch import SamplingBatch


@dataclass(frozen=True, kw_only=True)
class STSL(SamplingMethod):
    """STSL: recovery of a picture from a blurred, smaller, masked or compressed one, to second order.

    The measured picture is y = A(D(h)) with noise of deviation σ, where D decodes clean latents h. Before each step,
    latents x with noise over signal ρ are moved `updates` times down the gradient of

        ‖y - A(D(ĥ))‖ + gluing · ‖E(A⁺y + D(ĥ) - A⁺A(D(ĥ))) - ĥ‖ + weight · tr ∇² log p(x)

    ĥ is the model's clean estimate of x, E encodes, and A⁺ leads back from what is measured to a picture. The first
    term is DPS, with the second it is PSLD (`--order 1`), the third is STSL's. Given x, h has the covariance
    ρ² (1 + ρ² ∇² log p) in x over signal, so that the expected square of the misfit is larger than that of ĥ by its
    trace; `--weight 1` is the weight that follows from this, where the norm's gradient is that of the square over twice
    the norm. The trace is estimated by one finite difference of the score, whose error a network's own roughness and
    the weight of early steps enlarge. With `--noise` the first term is ‖·‖² / (2 σ²), and the moves are the sampler's
    own drift by the gradient of that likelihood, which is that of the exact posterior to second order.

    An update costs two calls and two gradients, the first order's one, and twice as many with a guidance scale. The
    prompt may be the empty one.

    Source: arXiv 2312.00852, whose base is arXiv 2307.00619; the weight and the likelihood's length are our own.
    """

    measured: Path | None = None
    """The measured picture, a file of the size that the operator leaves of the model's pictures."""
    operator: str = "mean-pool:4"
    """Operator A: mean-pool:FACTOR, blur:SIGMA in pixels, jpeg:QUALITY, mask:LEFT,TOP,RIGHT,BOTTOM for a box of unknown
    pixels, or mask beside its file."""
    mask: Path | None = None
    """Mask of the operator `mask`, of the model's size: white pixels are known, black ones are not."""
    noise: float = 0.0
    """Standard deviation σ of the noise in the measured picture, whose pixels are in [0, 1]; 0 moves by the norm."""
    order: Literal[1, 2] = 2
    """2, or 1 without the trace, its weight and its probe."""
    weight: float = 0.01
    """Weight of the trace, in derived ones: 1 for a model whose score is exact."""
    probe: float = 0.1
    """Length of the finite difference, in noise levels, above 0."""
    rate: float = 6.0
    """Factor of each move, above 0; 1 is that of the sources, and with `noise` that of the likelihood."""
    gluing: float = 0.1
    """Weight of the gluing, 0 or more."""
    updates: int = 5
    """Moves before each step, 1 or more."""
    scale: float = 1.0
    """Guidance scale, 0 or more, in place of that of the sampling; 1 is none."""

    own_guidance = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ()

    def __post_init__(self) -> None:
        check_operator(self.operator)
        if self.order not in (1, 2):
            raise ValueError(f"order must be 1 or 2, not {self.order}")
        if not math.isfinite(self.weight):
            raise ValueError(f"weight must be finite, not {self.weight}")
        if not 1 <= self.updates <= 10**4:
            raise ValueError(f"updates must be 1 to 10,000, not {self.updates}")
        for name in ("probe", "rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, and finite, not {getattr(self, name)}")
        for name in ("noise", "gluing", "scale"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, and finite, not {getattr(self, name)}")

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` without a measured picture, and for one that does not fit the model and the operator."""
        super().check(request)
        self._read(request.model)

    def latents(self, batch: SamplingBatch) -> Float[Tensor, "n c h w"]:
        """By the walk of the batch's sampler, moved before each step."""
        operator, measured = self._read(batch.context.model)
        sources = [generator(seed, "probe") for seed in batch.seeds]
        return batch.walk(self.guidance(operator, measured, sources, stochastic=batch.sampler is ancestral))

    def guidance(
        self,
        operator: Operator,
        measured: Float[Tensor, "one c hm wm"],
        sources: Sequence[torch.Generator],
        *,
        stochastic: bool = False,
    ) -> MeasurementGuidance:
        """The guide of pictures with these sources of probes, by any operator."""
        names = ("noise", "order", "weight", "probe", "rate", "gluing", "updates", "scale")
        settings = {name: getattr(self, name) for name in names}
        return MeasurementGuidance(operator, measured, sources, stochastic, **settings)

    def planned(self, request: SamplingRequest) -> Calls:
        """The sampler's nodes, and for each step its updates with their gradients."""
        branches = 1 if self.scale == 1 else 2
        asked = self.updates * self.order * branches
        an_update = Calls(forward=asked, backward=asked, decodes=self.updates * (2 if self.gluing else 1))
        return Calls(forward=request.nodes * branches) + an_update.times(request.steps)

    def _read(self, model: LatentDiffusion) -> tuple[Operator, Float[Tensor, "1 3 hm wm"]]:
        """The operator, and the measured picture."""
        if self.measured is None:
            raise BadInput("stsl recovers a picture from a measured one, and there is none; give --measured")
        operator = operator_of(self.operator, self.mask, model.resolution)
        return operator, exact_picture(Path(self.measured), operator.side(model.resolution), "measured")
