"""PTQ4DM: weights and activations of 8 bits, fixed from states of the times that matter most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.packing.rounded_inputs import input_grid, round_inputs
from intaglio.models.packing.term import Term
from intaglio.runs.run import Run
from intaglio.shrink.activation_ranges import PASSES, STATE, input_ranges
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.code_grid import POWER
from intaglio.shrink.family import ShrinkPlan
from intaglio.shrink.layer_by_layer import LayerShrinker
from intaglio.shrink.layer_statistics import InputStatistics
from intaglio.shrink.layers import KEPT_BITS, kept_apart, weight_layers
from intaglio.shrink.quantiser import Clip, integer_scales, nearest_integers
from intaglio.shrink.shrunk import Shrunk
from intaglio.shrink.time_spread import NormalTimes

OTHER_TIMES = "the calibration rows are not of the times that the settings ask for; draw them with calibration_times"
GRID_BYTES = 4
"""Of the scale and bits of a layer's inputs, in half precision."""


@dataclass(frozen=True, kw_only=True)
class PTQ4DM(LayerShrinker):
    """PTQ4DM: 8 bits for weights and for inputs of layers, fixed from states of chosen times.

    The inputs x of every linear layer and convolution become s·clip(⌊x/s⌉, -2^(b-1), 2^(b-1)-1) with one scale a layer,
    that of least Σ|x-x̂|^2.4 among 100 shares of the one that holds all of them, over all calibration rows under the
    packed weights; weights have scales a row by the same measure. Products within attention stay as they are. The
    times of the rows that it learns from are DNTC: T·N(μ, σ²), of the model's own walks, each state labelled with its
    own time. The model that is stored rounds its inputs wherever it is loaded, in floating point, in no less time; in
    int8 (`sample --dtype int8`), on a CPU, it computes with the codes instead. Another tool that reads a dense copy
    leaves the inputs as they are.

    Source: arXiv 2211.15736. The roundings that its program can also learn are left off there, and are `qdiffusion`'s.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "quantise"
    calibrated: ClassVar[bool] = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({"bits": 8, "times": "even"},)

    bits: int = 8
    """Bits of a weight's code, 2 to 8."""
    activation_bits: int = 8
    """Bits of an input's code, 2 to 8; layers that are kept finer have 8."""
    clip: Clip = "mse"
    """mse: the scale of inputs of least error; none: the scale that holds every input."""
    times: Literal["dntc", "even"] = "dntc"
    """dntc: calibration times are normally distributed; even: evenly spread, as those that judge always are."""
    mean: float = 0.4
    """Mean μ of the times, a share of all, 0 to 1: 0 is no noise."""
    deviation: float = 0.4
    """Standard deviation σ of the times, a share of all, above 0."""
    redraw: bool = False
    """Draw a time beyond the ends again, rather than put it on the end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.parts == ("denoiser",), "parts must be denoiser: only its inputs are calibrated")
        for name in ("bits", "activation_bits"):
            require(2 <= getattr(self, name) <= 8, f"{name} must be 2 to 8, not {getattr(self, name)}")
        NormalTimes(self.mean, self.deviation, self.redraw)
        plain = (self.mean, self.deviation, self.redraw) == (PTQ4DM.mean, PTQ4DM.deviation, PTQ4DM.redraw)
        require(self.times == "dntc" or plain, "mean, deviation and redraw belong to times dntc: leave them out")

    @property
    def calibration_times(self) -> NormalTimes | None:
        """Those of DNTC."""
        return NormalTimes(self.mean, self.deviation, self.redraw) if self.times == "dntc" else None

    def pack(self, weight: Float[Tensor, "o n"], inputs: InputStatistics | None, label: str = "") -> tuple[Term, ...]:
        """The weight rounded to its nearest codes."""
        return (nearest_integers(weight, integer_scales(weight, self.bits, 0, "mse", POWER), self.bits),)

    def bits_of(self, rows: int, columns: int) -> float:
        """Bits of a code, and its part of a scale."""
        return self.bits + 16 / columns

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after, and the rows of both passes."""
        plan = super().planned(model, rows)
        return replace(plan, after=plan.after + GRID_BYTES * len(weight_layers(model)), rows=PASSES * rows)

    def __call__(
        self,
        model: LatentDiffusion,
        calibration: CalibrationStates | None = None,
        *,
        base: LatentDiffusion | None = None,
        run: Run = Run.none(),
    ) -> Shrunk:
        """The smaller model; errors as of `Shrinker`."""
        found, layers = super().__call__(model, calibration, base=base, run=run), weight_layers(model)
        rows, paths = cast(CalibrationStates, calibration).learned, [layer.path for layer in layers]
        warnings = () if rows.times == self.calibration_times else (OTHER_TIMES,)
        about = {"batch": self.batch, "run": run, "label": f"{self.name}, inputs"}
        ranges = input_ranges(found.model, paths, rows, **about)
        bits = [KEPT_BITS if kept_apart(layer, self.keep) else self.activation_bits for layer in layers]
        pairs = zip(ranges.scales(bits, self.clip), bits, strict=True)
        round_inputs(found.model.denoiser, {path: input_grid(*pair) for path, pair in zip(paths, pairs, strict=True)})
        return replace(found, states=(*found.states, STATE), warnings=warnings)
