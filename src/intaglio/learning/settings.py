"""Settings of AdamW, of clipping and of the mean of the weights, which the settings of every training inherit."""

import importlib.util
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

from intaglio.errors import require
from intaglio.learning.rates import warmed_cosine

Optimizer = Literal["adamw", "adamw-8bit"]
NEEDS_BITSANDBYTES = "needs bitsandbytes; install it: pip install 'intaglio[eight-bit]', or take adamw"


@dataclass(frozen=True, kw_only=True)
class AdamWSettings(ABC):
    """AdamW (arXiv 1711.05101) with clipping and a mean of the weights, at learning rates that a subclass gives.

    A training inherits these and gives its own defaults; a wrong value raises `ValueError`.
    """

    steps: int = 1000
    """Updates of the weights, at least 1."""
    warmup: int = 0
    """Steps over which the learning rate rises linearly to its highest."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's first and second moments, each in [0, 1)."""
    optimizer: Optimizer = "adamw"
    """Moments of AdamW: adamw keeps both in float32, adamw-8bit as 8-bit codes with a scale for every 256 numbers
    (arXiv 2110.02861), in a quarter of the memory; weights of fewer than 4096 numbers keep float32. It needs
    bitsandbytes."""
    weight_decay: float = 0.01
    """AdamW's decoupled decay, as a fraction of the learning rate."""
    clip: float | None = 1.0
    """Largest norm of the gradient over all trained weights; None leaves it as it is."""
    ema: float | None = None
    """Decay in (0, 1) of an exponential mean of the weights, which is then what is exported; None exports the last
    weights. Early on the decay is (1 + k) / (10 + k) after k updates, where that is smaller."""

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"steps must be at least 1, not {self.steps}")
        require(self.warmup >= 0, f"warmup must not be negative: {self.warmup}")
        require(all(0 <= beta < 1 for beta in self.betas), f"betas must lie in [0, 1), not {self.betas}")
        known = get_args(Optimizer)
        require(self.optimizer in known, f"optimizer must be one of {', '.join(known)}, not {self.optimizer!r}")
        require(
            self.optimizer == "adamw" or importlib.util.find_spec("bitsandbytes") is not None,
            f"optimizer {self.optimizer} {NEEDS_BITSANDBYTES}",
        )
        require(0 <= self.weight_decay < math.inf, f"weight_decay must not be negative: {self.weight_decay}")
        require(self.clip is None or self.clip > 0, f"clip must be above 0, or None: {self.clip}")
        require(self.ema is None or 0 < self.ema < 1, f"ema must lie between 0 and 1, or be None: {self.ema}")

    @abstractmethod
    def rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(AdamWSettings):
    """`AdamWSettings` with a learning rate that is constant after the warm-up."""

    learning_rate: float = 1e-4
    """Highest learning rate of AdamW, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.learning_rate < math.inf, f"learning_rate must be above 0, not {self.learning_rate}")

    def rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0: the warm-up, then constant."""
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup))


@dataclass(frozen=True, kw_only=True)
class CosineSettings(OptimizerSettings):
    """`OptimizerSettings` whose learning rate falls along half a cosine after the warm-up."""

    final_rate: float = 0.0
    """Learning rate at the end of the cosine, in 0..learning_rate."""
    warmup: int = 100
    """Steps over which the rate rises linearly; at most a tenth of all steps are taken."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 <= self.final_rate <= self.learning_rate,
            f"final_rate must lie in 0..learning_rate ({self.learning_rate}), not {self.final_rate}",
        )

    def rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0."""
        return warmed_cosine(step, self.steps, warmup=self.warmup, peak=self.learning_rate, final=self.final_rate)
