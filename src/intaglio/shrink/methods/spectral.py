"""Spectral distillation: a narrower network with wavelet gates, which is trained by frequencies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from intaglio.errors import BadInput, require
from intaglio.models.diffusion.channel_spaces import channel_spaces
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.wavelet_gates import gate_resamplers
from intaglio.models.library_logging import quiet_libraries
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.family import ShrinkPlan
from intaglio.shrink.heal import STATE, Healing
from intaglio.shrink.healing_settings import BENCH, HealingSettings
from intaglio.shrink.narrow_student import narrower, narrower_config
from intaglio.shrink.shrunk import Shrunk, shrunk
from intaglio.shrink.spectral_error import spectral_error


@dataclass(frozen=True, kw_only=True)
class SpectralDistillation(HealingSettings):
    """Spectral Diffusion: a narrower network with gated wavelet bands, trained by frequencies.

    Every width is `width` of what it was; the channels that count most stay. In the place of each resampler stand the
    bands LL, LH, HL, HH of a Haar transform, each times a gate in (0, 1) that a small network tells from the mean of
    the input: down, their sum; up, the inverse transform of four quarters of the channels; then the resampler's
    convolution. To the error against the full prediction comes `spectral` times the mean over frequencies of
    w_f·|F(ε_S - ε_T)|², w_f being |F x̂₀|^`alpha` with a mean of 1 and x̂₀ the clean latents that the full network
    predicts; amplitudes below 1% of their mean count as that. Small networks lose high frequencies, which are weak in
    pictures; with `alpha` below 0 these count more. The weights are stored in half precision, and a prediction takes
    about `width`² of the multiplications. It needs a long training: at few steps it is far from the full network.

    Source: arXiv 2211.17106; the weights by clean latents, the widths and the begin of the gates are this software's.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "prune"
    structural: ClassVar[bool] = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({**BENCH}, {**BENCH, "spectral": 0.0}, {**BENCH, "loss": "bias"})

    keep: tuple[str, ...] = ()
    """Must be empty: every layer is narrower."""
    features: float = 0.0
    """Must be 0: narrower blocks have other outputs than the full ones."""
    width: float = 0.5
    """Share of the channels that stay, above 0 and below 1, to the nearest group of a norm."""
    gates: bool = True
    """Whether resamplers gate wavelet bands; else they stay as they are."""
    alpha: float = -1.0
    """Power of the amplitude by which a frequency counts, -4 to 4; 0: all alike."""
    spectral: float = 1.0
    """Weight of the error by frequencies, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not self.keep, f"keep must be empty, as every layer is narrower, not {' '.join(self.keep)}")
        require(self.features == 0, f"features must be 0, as narrower blocks have other outputs, not {self.features}")
        require(0 < self.width < 1, f"width must be above 0 and below 1, not {self.width}")
        require(-4 <= self.alpha <= 4, f"alpha must be -4 to 4, not {self.alpha}")
        require(0 <= self.spectral < float("inf"), f"spectral must be 0 or more, and finite, not {self.spectral}")

    def check(self, model: LatentDiffusion, base: LatentDiffusion | None = None) -> None:
        """Raises `BadInput` also for a denoiser that has no layout of this width."""
        super().check(model, base)
        try:
            self._layout(model)
        except ValueError as error:
            raise BadInput(f"{model.name} cannot have width {self.width:g} ({error}); give another width") from error
        channel_spaces(model.denoiser)

    def planned(self, model: LatentDiffusion, rows: int) -> ShrinkPlan:
        """Bytes before and after, and rows through the network in the training, a narrower one counted as a full."""
        before, after = (
            sum(weight.numel() for weight in network.state_dict().values())
            for network in (model.denoiser, self._layout(model))
        )
        return ShrinkPlan(2 * before, 2 * after, self.training_rows(rows))

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
        rows = self.learned(model, calibration)
        small = narrower(model.denoiser, self.width)
        if self.gates:
            gate_resamplers(small)
        student = model.made_for(model.sampling, small, model.name)
        further = {"spectral": spectral_error(model.schedule, self.alpha, self.spectral)} if self.spectral else {}
        weights = dict(small.named_parameters())
        figures = Healing(model, student, rows, self, weights, further=further)(run)
        pairs = zip(model.denoiser.config.block_out_channels, small.config.block_out_channels, strict=True)
        numbers = [sum(one.numel() for one in net.state_dict().values()) for net in (small, model.denoiser)]
        facts = {"channels": [list(pair) for pair in pairs], "share": numbers[0] / numbers[1], "healing": figures}
        found = shrunk(model, {"denoiser": {}}, self.packing(model), healed=student)
        return replace(found, states=(STATE,), facts=facts)

    def _layout(self, model: LatentDiffusion) -> Any:
        """The narrower network without memory for its weights."""
        config = narrower_config(model.denoiser, self.width)
        with torch.device("meta"), quiet_libraries():
            network: Any = UNet2DConditionModel.from_config(config)
            if self.gates:
                gate_resamplers(network)
            return network
