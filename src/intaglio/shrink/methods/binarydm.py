"""BinaryDM: each weight as a sign with a scale of its row, or the sum of two, trained to answer as before."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.family import ShrinkPlan
from intaglio.shrink.heal import STATE, Healing
from intaglio.shrink.healing_settings import HealingSettings
from intaglio.shrink.layers import KEPT_BITS, WeightLayer, kept_apart, weight_layers
from intaglio.shrink.quantiser import kept_finer
from intaglio.shrink.shrunk import Shrunk, shrunk
from intaglio.shrink.sign_bases import SignBases
from intaglio.shrink.stage_directions import outward
from intaglio.shrink.stored_sizes import sizes


@dataclass(frozen=True, kw_only=True)
class BinaryDM(HealingSettings):
    """BinaryDM: weights as signs with a scale a row, or sums of two such, trained from the middle out.

    A layer computes with α₁·sgn(W) or with α₁·sgn(W) + α₂·sgn(W - α₁·sgn(W)); α₁ is learnt from mean|W| on, α₂ from
    mean|W - α₁·sgn(W)| on, both a row, and W has the gradient of the weight in use. The outermost resolutions have two
    bases, which are two bits a weight, the others one. The middle of the network computes with signs from the first
    step, each resolution outward later in equal distances, and all after the `gradual` share of the steps. Beside the
    error of the prediction, `lrm` weighs the squared distance of the stages' outputs along the quarter of directions in
    which those of the full network vary most over its first batch, a sum over positions, a mean over stages. Inputs of
    layers are not rounded here, unlike in the paper.

    Source: arXiv 2404.05662.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "quantise"

    keep: tuple[str, ...] = ("conv_in", "conv_out", "time_embedding", "add_embedding")
    """Layers that keep 8 bits a weight, by their names, or those of modules around them."""
    doubled: int = 2
    """Resolutions whose layers have two bases, counted from the outermost, 0 or more; the middle is beyond the
    innermost one."""
    gradual: float = 0.3
    """Share of the steps after which all layers compute with signs, from 0 to below 1."""
    lrm: float = 1e-4
    """Weight of the distance along the full network's principal directions, 0 or more; above 0 the full network is
    asked in every step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.doubled >= 0, f"doubled must be 0 or more, not {self.doubled}")
        require(0 <= self.gradual < 1, f"gradual must be 0 or more, and below 1, not {self.gradual}")
        require(0 <= self.lrm < float("inf"), f"lrm must be 0 or more, and finite, not {self.lrm}")

    @property
    def principal(self) -> float:
        """Weight of the distance along principal directions: `lrm`."""
        return self.lrm

    def bases_of(self, layer: WeightLayer, model: LatentDiffusion) -> int:
        """Bases of a layer, 1 or 2; 0 for one that keeps 8 bits."""
        if kept_apart(layer, self.keep):
            return 0
        return 2 if outward(layer.path, model.denoiser) < self.doubled else 1

    def begins(self, place: int, places: int) -> int:
        """The first step, counted from 0, in which the layers of a resolution compute with signs.

        Args:
            place: of the resolution, counted from the outermost.
            places: resolutions, the middle as one.
        """
        return round(self.gradual * self.steps * (places - 1 - place) / max(1, places - 1))

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after, and rows through the network in the training."""

        def bits(layer: WeightLayer) -> float:
            bases = self.bases_of(layer, model)
            return (bases or KEPT_BITS) + 16 * max(1, bases) / layer.columns

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
        weights = dict(student.denoiser.named_parameters())
        signs = dict[str, SignBases]()
        starts = dict[str, int]()
        places = 1 + max(outward(layer.path, model.denoiser) for layer in layers)
        for layer in layers:
            if bases := self.bases_of(layer, student):
                signs[layer.name] = one = SignBases(layer.module, bases)
                starts[layer.name] = self.begins(outward(layer.path, model.denoiser), places)
                weights[f"{layer.name}/scales"] = one.scales

        def at_step(step: int) -> None:
            for name, one in signs.items():
                one.on = step >= starts[name]

        figures = Healing(model, student, rows, self, weights, at_step=at_step)(run)
        packed = {}
        for layer in layers:
            one = signs.get(layer.name)
            packed[layer.name] = PackedWeight(layer.shape, (kept_finer(layer),) if one is None else one.terms())
        for one in signs.values():
            one.remove()
        found = shrunk(model, {"denoiser": packed}, self.packing(model), healed=student)
        return replace(found, states=(STATE,), facts={"healing": figures})
