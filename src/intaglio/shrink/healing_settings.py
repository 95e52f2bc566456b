"""`HealingSettings`: of a shrinking that ends with a training of what is left."""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from intaglio.errors import BadInput, require
from intaglio.learning.precision import MixedPrecision, check_precision
from intaglio.learning.settings import CosineSettings, OptimizerSettings
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.calls import BACKWARD, Calls
from intaglio.sampling.plan import planned_seconds
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.family import TIMED_ROWS, Shrinker
from intaglio.shrink.trial_steps import trial_seconds

HEALING = "healing"
"""Name of the training: of a run's state, of its log and of its progress."""
BENCH = MappingProxyType({"steps": 400, "batch": 4, "learning_rate": 5e-4})
"""The training of rows of the bench: the same for all."""


@dataclass(frozen=True, kw_only=True)
class HealingSettings(MixedPrecision, Shrinker, ABC):
    """A method that trains what is left of the denoiser, on calibration rows, to answer as the full one.

    AdamW without weight decay; the learning rate falls along half a cosine to 0, after 100 steps of warm-up, or a tenth
    of all where that is less.
    """

    calibrated: ClassVar[bool] = True
    trained: ClassVar[bool] = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = (BENCH,)
    phases: ClassVar[Mapping[str, str]] = MappingProxyType({HEALING: "steps"})
    """Names of the settings that count steps, by the labels of their progress."""
    cheaper: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Further settings of the trial by which its time is planned, of work that `scored_rows` counts."""

    steps: int = 2000
    """Updates of the training, at least 1."""
    learning_rate: float = 2e-4
    """Highest learning rate of AdamW, above 0."""
    batch: int = 16
    """Calibration rows an update, at least 1."""
    micro_batch: int | None = None
    """Rows in memory at once, at least 1; None: the whole batch. The result is the same, up to rounding."""
    gradient_checkpointing: bool = False
    """Recompute the denoisers' activations in the backward pass: about a third slower, with less memory."""
    task: float = 0.0
    """Weight of the error against the true noise, 0 or more; above 0 the rows must be made of pictures."""
    output: float = 1.0
    """Weight of the error against the full network's prediction, 0 or more."""
    features: float = 0.0
    """Weight of the relative error of the outputs of blocks, 0 or more; above 0 the full network is asked in every
    step."""
    loss: Literal["plain", "bias", "shuffled"] = "plain"
    """Weight of each row of an update. plain: 1; bias, Bias Loss: exp(0.3·v) - 0.3, from 0.7 to 1.05, with v the
    variance of the row's features before the last layer, from 0 to 1 among rows of like timesteps, so that rows whose
    features vary little teach less (arXiv 2107.11170), at the price of a further pass of the smaller network; shuffled:
    the same weights dealt to other rows, to compare it with."""
    ema: float | None = None
    """Decay in (0, 1) of an exponential mean of the weights, which is then what is stored; None: the last weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_precision(self.precision)
        require(self.parts == ("denoiser",), f"parts must be denoiser, which alone is trained, not {self.parts}")
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        part = self.micro_batch
        require(part is None or part >= 1, f"micro_batch must be at least 1, or None, not {part}")
        for name in ("task", "output", "features"):
            weight = getattr(self, name)
            require(0 <= weight < float("inf"), f"{name} must be 0 or more, and finite, not {weight}")
        require(self.task + self.output + self.features > 0, "one of task, output and features must be above 0")
        _ = self.optimiser

    @property
    def optimiser(self) -> OptimizerSettings:
        """Settings of AdamW. Raises `ValueError` for wrong ones."""
        return CosineSettings(steps=self.steps, learning_rate=self.learning_rate, weight_decay=0.0, ema=self.ema)

    @property
    def principal(self) -> float:
        """Weight of the distance of stages' outputs along the full network's principal directions, 0 or more."""
        return 0.0

    @property
    def asks_each_step(self) -> bool:
        """Whether the full network is asked in every step, and not once for each row."""
        return self.features + self.principal > 0

    def learned(self, model: LatentDiffusion, calibration: CalibrationStates | None) -> CalibrationStates:
        """The rows to learn from. Raises `BadInput` where there are none, or none that tell what the method weighs."""
        rows = self.given_rows(calibration)
        if self.task and rows.noise is None:
            raise BadInput(
                f"the true noise, which task weighs, is not known in {rows.source}; "
                "give a folder of pictures as the calibration, or task 0"
            )
        return rows.learned

    def training_rows(self, rows: int) -> int:
        """Rows through the network that the training takes as long as; those of the full network are among them."""
        asked = self.steps * self.batch if self.asks_each_step else rows
        passes = 1 + BACKWARD + (self.loss != "plain")
        return asked + passes * self.steps * self.batch

    def scored_rows(self, model: LatentDiffusion) -> int:
        """Rows through the network by which it is chosen what to train, before the training; 0 where none are."""
        return 0

    def seconds(self, model: LatentDiffusion, rows: int) -> float:
        """Seconds of all phases, from a few steps of each, and of the calls of the network before them."""
        asked = self.scored_rows(model) + (0 if self.asks_each_step else rows)
        tried = trial_seconds(self, model, self.batch, self.phases, **self.cheaper)
        return tried + planned_seconds(Calls(forward=asked), model, TIMED_ROWS)
