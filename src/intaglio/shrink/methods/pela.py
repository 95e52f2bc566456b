"""PELA: each layer as a product of two thin ones, which are then trained."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.low_rank import HIGHEST, LowRank
from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.models.packing.term import Term
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.factored_weight import FactoredWeight
from intaglio.shrink.family import ShrinkPlan
from intaglio.shrink.heal import STATE, Healing
from intaglio.shrink.healing_settings import HealingSettings
from intaglio.shrink.layer_by_layer import KEPT_BITS
from intaglio.shrink.layers import WeightLayer, kept_apart, weight_layers
from intaglio.shrink.quantiser import integer_scales, nearest_integers
from intaglio.shrink.shrunk import Shrunk, shrunk
from intaglio.shrink.stored_sizes import sizes

FEWEST = 10
"""Outputs below which a layer stays whole."""
FREE = 1e-3
"""Largest deviation of an entry that the penalty leaves alone."""


@dataclass(frozen=True, kw_only=True)
class PELA(HealingSettings):
    """PELA: low-rank factors of each layer, from its singular values, trained to answer as before.

    A weight of o rows and n columns becomes U√S·√SVᵀ of rank r = ⌊on/(c(o+n))⌋, c being `compression`; of all matrices
    of that rank it is the nearest, its squared error the sum of the squares of the singular values left out. The
    training changes the factors and all other weights, with the blocks' outputs as further targets where `features` is
    above 0, and, where `deviation` is, with the mean over layers of max(0, max|BA - W| - 0.001)². The published penalty
    pulls that largest deviation up to 0.001, too; this one does not. Layers of fewer than 10 outputs, downsamplers and
    those of `keep` stay whole, in 8 bits. When it is loaded the factors are multiplied: the file is smaller, and a
    prediction takes as many multiplications as before.

    Source: arXiv 2310.10700.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "prune"

    compression: float = 2.0
    """Numbers of a layer over those of its factors, above 1."""
    bits: int = 8
    """Bits of a code of the factors, 2 to 8, with a scale a row; 16: half precision."""
    deviation: float = 0.0
    """Weight of the penalty of the largest deviation of each layer's entries, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 < self.compression < float("inf"), f"compression must be above 1, not {self.compression}")
        require(2 <= self.bits <= 8 or self.bits == 16, f"bits must be 2 to 8, or 16, not {self.bits}")
        require(0 <= self.deviation < float("inf"), f"deviation must be 0 or more, and finite, not {self.deviation}")

    def rank_of(self, layer: WeightLayer) -> int | None:
        """The rank of a layer's factors; None for one that stays whole."""
        if layer.rows < FEWEST or ".downsamplers." in f".{layer.path}." or kept_apart(layer, self.keep):
            return None
        return min(HIGHEST, max(1, int(layer.rows * layer.columns / (self.compression * (layer.rows + layer.columns)))))

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after, and rows through the network in the training."""

        def bits(layer: WeightLayer) -> float:
            if (rank := self.rank_of(layer)) is None:
                return KEPT_BITS + 16 / layer.columns
            scales = 0 if self.bits == 16 else 16 * (layer.rows + rank)
            return (self.bits * rank * (layer.rows + layer.columns) + scales) / (layer.rows * layer.columns)

        before, after = sizes(model, self.parts, bits)
        return ShrinkPlan(before, after, self.training_rows(rows))

    def __call__(
        self,
        model: LatentDiffusion,
        calibration: CalibrationStates | None = None,
        *,
        base: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> Shrunk:
        """The smaller model; errors as of `Shrinker`, and `IntaglioError` for a loss that is not finite."""
        self.check(model, base)
        rows, student = self.learned(model, calibration), model.copy()
        layers = weight_layers(student)
        weights: dict[str, Tensor] = dict(student.denoiser.named_parameters())
        factored: dict[str, FactoredWeight] = {}
        for layer in layers:
            if (rank := self.rank_of(layer)) is not None:
                factored[layer.name] = one = FactoredWeight(layer.module, rank)
                del weights[layer.name]
                weights |= {f"{layer.name}/up": one.up, f"{layer.name}/down": one.down}

        def penalty() -> Float[Tensor, ""]:
            over = [(one.deviation() - FREE).clamp(min=0).square() for one in factored.values()]
            return self.deviation * torch.stack(over).mean()

        penalised = penalty if self.deviation and factored else None
        figures = Healing(model, student, rows, self, weights, penalty=penalised)(run)
        packed = {}
        for layer in layers:
            term = self._factors(one) if (one := factored.get(layer.name)) is not None else _whole(layer)
            packed[layer.name] = PackedWeight(layer.shape, (term,))
        for one in factored.values():
            one.remove()
        found = shrunk(model, {"denoiser": packed}, self.packing(model), healed=student)
        return replace(found, states=(STATE,), facts={"healing": figures})

    def _factors(self, one: FactoredWeight) -> Term:
        return LowRank(self._stored(one.up), self._stored(one.down))

    def _stored(self, factor: nn.Parameter) -> Any:
        """A factor in half precision, or as codes."""
        weight = factor.detach().float().cpu()
        return weight.half() if self.bits == 16 else _codes(weight, self.bits)


def _whole(layer: WeightLayer) -> Term:
    return _codes(layer.matrix, KEPT_BITS)


def _codes(weight: Float[Tensor, "o n"], bits: int) -> Integers:
    return nearest_integers(weight, integer_scales(weight, bits, 0, "mse"), bits)
