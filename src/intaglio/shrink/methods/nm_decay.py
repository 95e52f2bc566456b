"""N:M sparsity by decay: during a training all but n of each m weights fade, or fewer of them stay frame by frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.models.packing.term import Term
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.fading_weight import FadingWeight
from intaglio.shrink.family import ShrinkPlan
from intaglio.shrink.heal import STATE, Healing
from intaglio.shrink.healing_settings import BENCH, HealingSettings
from intaglio.shrink.kept_weights import highest, kept_bits, kept_term, parsed_pattern
from intaglio.shrink.layer_by_layer import KEPT_BITS
from intaglio.shrink.layers import WeightLayer, kept_apart, weight_layers
from intaglio.shrink.quantiser import integer_scales, nearest_integers
from intaglio.shrink.shrunk import Shrunk, shrunk
from intaglio.shrink.stored_sizes import sizes

FADED, FADING = 0.01, 0.6
"""What an exponential factor has fallen to after which share of all steps; a line has reached 0 there."""
PULL = 2e-4
"""Factor of SR-STE's pull of dropped weights to 0, arXiv 2102.04010."""
Pattern = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class NMDecay(HealingSettings):
    """N:M decay: trains the denoiser while all but the n largest of each m weights of a row fade away.

    With m the mask of the n largest of each group in absolute value, found again in every step, a layer computes with
    W⊙(m + (1-m)·λ). In mask decay λ falls from 1 to 0.01 after 60% of the steps, or along a line to 0 there. In
    structure decay λ is 0, and the pattern changes in equal frames of time. SR-STE has the last pattern all along, and
    its gradient is that of W, with 2e-4·(1-m)⊙W added. In the last `hard` share of the steps all have λ = 0 and the
    last pattern. What stays is rounded to codes of `bits`. Groups are consecutive columns of a row; in a convolution
    these are first the places of its kernel. It learns from the full network's answers.

    Source: arXiv 2402.04744; SR-STE: arXiv 2102.04010.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "prune"
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({**BENCH}, {**BENCH, "decay": "none"})

    pattern: str = "2:4"
    """n:m, m a power of two from 2 to 256: n of each m columns stay. A layer whose columns m does not divide keeps that
    share of each row."""
    bits: int = 8
    """Bits of a code of the weights that stay, 2 to 8."""
    decay: Literal["mask", "structure", "sr-ste", "none"] = "mask"
    """What fades: dropped weights, the pattern, or nothing, with the gradient of SR-STE or without."""
    curve: Literal["exponential", "linear"] = "exponential"
    """How λ falls in mask decay."""
    frames: Literal["stepwise", "geometric"] = "stepwise"
    """Patterns of structure decay: m-1:m, m/2:m, m/4:m and so on to n:m; or 8n:8m, 4n:4m, 2n:2m, n:m."""
    flow: Literal["decayed", "straight"] = "decayed"
    """Gradient of W: the true one, which is that of the weight in use times m + (1-m)·λ, or that of the weight in use;
    SR-STE takes the latter always."""
    hard: float = 0.2
    """Share of the steps, the last ones, with λ = 0 and the last pattern; 0 or more, and below 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parsed_pattern(self.pattern)
        require(2 <= self.bits <= 8, f"bits must be 2 to 8, not {self.bits}")
        require(0 <= self.hard < 1, f"hard must be 0 or more, and below 1, not {self.hard}")

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """The patterns of the frames of time, the last one that of `pattern`."""
        n, m = self._pattern
        if self.decay != "structure":
            return ((n, m),)
        if self.frames == "geometric":
            return tuple((n * k, m * k) for k in (8, 4, 2, 1))
        halves = [m >> k for k in range(1, m.bit_length()) if m >> k > n]
        return tuple(dict.fromkeys((count, m) for count in (max(n, m - 1), *halves, n)))

    @property
    def _pattern(self) -> Pattern:
        found = parsed_pattern(self.pattern)
        return (1, 2) if found is None else found

    def pattern_at(self, step: int) -> Pattern:
        """The pattern of a step, counted from 0."""
        patterns, before = self.patterns, self.steps - self._hard_steps
        return patterns[min(len(patterns) - 1, step * len(patterns) // max(1, before))]

    def factor_at(self, step: int) -> float:
        """λ of a step, counted from 0: the factor of dropped weights, from 1 down to 0."""
        if self.decay != "mask" or step >= self.steps - self._hard_steps:
            return 0.0
        done = step / (FADING * self.steps)
        return FADED**done if self.curve == "exponential" else max(0.0, 1 - done)

    @property
    def _hard_steps(self) -> int:
        return round(self.hard * self.steps)

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after, and rows through the network in the training."""

        def bits(layer: WeightLayer) -> float:
            if kept_apart(layer, self.keep):
                return KEPT_BITS + 16 / layer.columns
            return kept_bits(layer.columns, 0.5, self._pattern, self.bits)

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
        fading = [FadingWeight(layer.module, self._straight) for layer in layers if not kept_apart(layer, self.keep)]

        def at_step(step: int) -> None:
            for one in fading:
                one.set(self.pattern_at(step), self.factor_at(step))

        def penalty() -> Float[Tensor, ""]:
            return PULL / 2 * torch.stack([one.dropped_squares() for one in fading]).sum()

        pulled = penalty if self.decay == "sr-ste" and fading else None
        healing = Healing(model, student, rows, self, weights, at_step=at_step, penalty=pulled)
        figures = healing(run)
        for one in fading:
            one.remove()
        packed = {layer.name: PackedWeight(layer.shape, (self._term(layer),)) for layer in layers}
        found = shrunk(model, {"denoiser": packed}, self.packing(model), healed=student)
        return replace(found, states=(STATE,), facts={"healing": figures})

    @property
    def _straight(self) -> bool:
        return self.flow == "straight" or self.decay == "sr-ste"

    def _term(self, layer: WeightLayer) -> Term:
        weight = layer.matrix
        if kept_apart(layer, self.keep):
            return nearest_integers(weight, integer_scales(weight, KEPT_BITS, 0, "mse"), KEPT_BITS)
        return kept_term(weight, highest(weight.abs(), 0.5, self._pattern), self.bits, self._pattern)
