"""Long convolutions: each self-attention becomes a convolution over its grid, is matched to it, and all is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Literal

from intaglio.errors import BadInput, require
from intaglio.learning.settings import CosineSettings
from intaglio.models.capabilities import HasUNet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.long_convolutions import LongConvolution, put_long_convolution, self_attentions
from intaglio.runs.run import Run
from intaglio.shrink.attention_offsets import begin_as_attention, mean_maps_by_offset
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.family import ShrinkPlan
from intaglio.shrink.heal import STATE, Healing
from intaglio.shrink.healing_settings import HealingSettings
from intaglio.shrink.match import STATE as MATCHING
from intaglio.shrink.match import Matching
from intaglio.shrink.shrunk import Shrunk, shrunk
from intaglio.shrink.squashed_kernel import SquashedKernel


@dataclass(frozen=True, kw_only=True)
class LongConv(HealingSettings):
    """Long convolutions: each self-attention becomes a convolution as large as its grid.

    On the s x s grid of a block each of the C channels has a kernel of every offset, (2s-1)² taps, by Fourier
    transforms, plus a factor of the place itself; then a linear layer with a gate. It begins as the attention whose map
    is the mean one by offset, learns `match_steps` to give the attention's own outputs, and then all weights are
    trained. Taps are squashed, sgn(k)·max(|k| - λ, 0), and some are dropped in each step. A prediction takes less time
    where grids are large, since it grows as s²·log s and not as s⁴. The numbers are fewer only where (2s-1)² < 2C: at
    512 pixels the largest grid of Stable Diffusion, s = 64, has C = 320, and the result is larger than the model. A
    kernel belongs to a resolution: at another one it is resampled, with a warning. What depends on the picture in an
    attention is lost. Zero taps are stored as any others.

    Source: arXiv 2302.06646, for sequences; two dimensions, the begin and the matching are this software's.
    """

    needs: ClassVar[tuple[type, ...]] = (*HealingSettings.needs, HasUNet)
    kind: ClassVar[Literal["quantise", "prune"]] = "prune"
    structural: ClassVar[bool] = True
    phases: ClassVar[Mapping[str, str]] = MappingProxyType({STATE: "steps", MATCHING: "match_steps"})

    keep: tuple[str, ...] = ()
    """Self-attentions that stay, by the names of their modules, or of those around them."""
    squash: float = 0.1
    """Threshold λ below which a tap is 0, as a share of 1/s², the mean tap of an attention; 0 or more."""
    kernel_dropout: float = 0.0
    """Share of the taps that are dropped in each step, in [0, 1); published as 0.2."""
    match_steps: int = 500
    """Updates in which each convolution alone learns its attention's outputs, at least 1."""
    match_rate: float = 1e-3
    """Highest learning rate of these, above 0."""
    probes: int = 16
    """Calibration rows by which the mean maps are taken, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.squash < float("inf"), f"squash must be 0 or more, and finite, not {self.squash}")
        require(0 <= self.kernel_dropout < 1, f"kernel_dropout must be in [0, 1), not {self.kernel_dropout}")
        require(self.match_steps >= 1, f"match_steps must be at least 1, not {self.match_steps}")
        require(0 < self.match_rate < float("inf"), f"match_rate must be above 0, and finite, not {self.match_rate}")
        require(self.probes >= 1, f"probes must be at least 1, not {self.probes}")

    def check(self, model: LatentDiffusion, base: LatentDiffusion | None = None) -> None:
        """Raises `BadInput` also for a model without a self-attention to replace."""
        super().check(model, base)
        if not self._sides(model):
            raise BadInput(
                f"the denoiser of {model.name} has no self-attention that could be replaced; use another method, or "
                "keep fewer"
            )

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after, and rows through the network in matching and training."""
        numbers = after = sum(weight.numel() for weight in model.denoiser.state_dict().values())
        for scope, side in self._sides(model).items():
            attention = model.denoiser.get_submodule(scope)
            channels = int(attention.to_q.in_features)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
            after -= sum(weight.numel() for weight in attention.parameters())
            after += channels * ((2 * side - 1) ** 2 + 2 * channels + 3)
        matching = min(rows, self.probes) + self.match_steps * self.batch
        return ShrinkPlan(2 * numbers, 2 * after, matching + self.training_rows(rows))

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
        made = self._begun(model, student, rows)
        kernels = {scope: SquashedKernel(one, self._threshold(one.side)) for scope, one in made.items()}

        def dropping(phase: str, step: int) -> None:
            for scope, kernel in kernels.items():
                kernel.drop(self.kernel_dropout, self.seed, phase, scope, step)

        settings = CosineSettings(steps=self.match_steps, learning_rate=self.match_rate, weight_decay=0.0)
        about = (self.batch, self.micro_batch, self.seed, lambda step: dropping(MATCHING, step), self.precision)
        matched = Matching(model, made, rows, settings, *about)(run)
        weights = dict(student.denoiser.named_parameters())
        healed = Healing(model, student, rows, self, weights, at_step=lambda step: dropping(STATE, step))(run)
        for kernel in kernels.values():
            kernel.remove()
        zeros = sum(int((one.kernel == 0).sum()) for one in made.values())
        facts = {
            "long_convolutions": {scope: one.side for scope, one in made.items()},
            "zero_taps": zeros / sum(one.kernel.numel() for one in made.values()),
            "matching": matched,
            "healing": healed,
        }
        small = shrunk(model, {"denoiser": {}}, self.packing(model), healed=student)
        return replace(small, states=(MATCHING, STATE), facts=facts)

    def _sides(self, model: LatentDiffusion) -> dict[str, int]:
        """Places a side of each self-attention that is replaced."""
        found = self_attentions(model.denoiser)
        return {
            scope: side
            for scope, side in found.items()
            if not any(f"{scope}.".startswith(f"{kept}.") for kept in self.keep)
        }

    def _threshold(self, side: int) -> float:
        return self.squash / side**2

    def _begun(
        self, model: LatentDiffusion, student: LatentDiffusion, rows: CalibrationStates
    ) -> dict[str, LongConvolution]:
        """The student's long convolutions, each as its attention begins it."""
        sides, made = self._sides(model), dict[str, LongConvolution]()
        maps = mean_maps_by_offset(model, rows.first(self.probes), sides)
        for scope, side in sides.items():
            made[scope] = put_long_convolution(student.denoiser, scope, side)
            attention = model.denoiser.get_submodule(scope)
            begin_as_attention(made[scope], attention, maps[scope], self._threshold(side))
        return made
