"""What decides a flow's weights, beside its pictures: its shape, its noise, and how it goes down."""

import math
from dataclasses import dataclass
from typing import Literal

from intaglio.learning.rates import warmed_cosine


@dataclass(frozen=True, kw_only=True)
class FlowShape:
    """The size of a TarFlow (arXiv 2412.06329) and its formulas."""

    resolution: int = 32
    """Edge of the square pictures in pixels."""
    patch_size: int = 4
    """Edge of a patch in pixels; it divides the resolution."""
    hidden_size: int = 128
    """Width of the transformers."""
    blocks: int = 4
    """Flow blocks, each with a transformer of its own."""
    layers: tuple[int, ...] = (2,)
    """Attention layers of each block; one number serves all of them."""
    head_dim: int = 32
    """Width of an attention head; it divides hidden_size."""
    nvp: bool = True
    """Scale as well as shift each patch; without, the volume is kept."""
    soft_clip: float | None = None
    """Keep log-scales within plus and minus this; None leaves them free."""
    scale_param: Literal["exp", "softplus"] = "exp"
    """How a log-scale becomes a scale."""

    def __post_init__(self) -> None:
        for name in ("resolution", "patch_size", "hidden_size", "blocks", "head_dim"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        _require(self.resolution % self.patch_size == 0, f"patch_size must divide {self.resolution}: {self.patch_size}")
        _require(self.hidden_size % self.head_dim == 0, f"head_dim must divide {self.hidden_size}: {self.head_dim}")
        _require(
            len(self.layers) in (1, self.blocks) and min(self.layers) >= 1,
            f"layers wants one number above 0, or one for each of {self.blocks} blocks: {self.layers}",
        )
        _require(self.soft_clip is None or self.soft_clip > 0, f"soft_clip must be above 0, or None: {self.soft_clip}")


@dataclass(frozen=True, kw_only=True)
class FlowTraining(FlowShape):
    """The settings of maximum-likelihood training of a TarFlow.

    Together with the pictures they determine the weights; a wrong value raises `ValueError`.
    """

    noise: float = 0.1
    """Deviation of the Gaussian noise added to pictures in [-1, 1], for samples; 0 dequantises, for likelihoods."""
    label_dropout: float = 0.1
    """Share of the labels that are left out, so that guidance has something to lead away from."""
    mirror: bool = False
    """Show each picture mirrored half of the time."""
    steps: int = 1000
    """Updates of the weights."""
    minutes: float | None = None
    """Time in place of steps: a few steps are timed first, and as many are made as fit; None goes by the steps."""
    batch: int = 64
    """Pictures a step."""
    learning_rate: float = 1e-3
    """Of AdamW, at its highest."""
    final_rate: float = 1e-6
    """Where the cosine ends."""
    warmup: int = 100
    """Steps over which the rate rises linearly; at most a tenth of all steps are taken."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of AdamW's first and second moments, each in [0, 1)."""
    weight_decay: float = 1e-4
    """AdamW's decoupled decay, as a fraction of the learning rate."""
    clip: float | None = 1.0
    """Largest norm of the gradient; None leaves it as it is."""
    ema: float | None = 0.999
    """Decay in (0, 1) of an exponential mean of the weights, which is then what is kept; None keeps the last ones."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the transformers while training; exponentials are float32 always. bfloat16 needs noise above 0."""
    held_out: float = 0.05
    """Share of the pictures that is never trained on, for the held-out loss; 0 keeps none."""
    judge_every: int = 250
    """Steps between two measurements of the held-out loss."""
    seed: int = 0
    """Of the first weights, the order of the pictures, their noise and the labels left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "batch", "judge_every"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        _require(0 <= self.noise < 1, f"noise must lie in [0, 1), not {self.noise}")
        _require(0 <= self.label_dropout < 1, f"label_dropout must lie in [0, 1), not {self.label_dropout}")
        _require(self.minutes is None or self.minutes > 0, f"minutes must be above 0, or None: {self.minutes}")
        _require(0 < self.learning_rate < math.inf, f"learning_rate must be above 0, not {self.learning_rate}")
        _require(
            0 <= self.final_rate <= self.learning_rate,
            f"final_rate must lie in 0..learning_rate ({self.learning_rate}), not {self.final_rate}",
        )
        _require(self.warmup >= 0, f"warmup must not be negative: {self.warmup}")
        _require(all(0 <= beta < 1 for beta in self.betas), f"betas must lie in [0, 1), not {self.betas}")
        _require(0 <= self.weight_decay < math.inf, f"weight_decay must not be negative: {self.weight_decay}")
        _require(self.clip is None or self.clip > 0, f"clip must be above 0, or None: {self.clip}")
        _require(self.ema is None or 0 < self.ema < 1, f"ema must lie between 0 and 1, or be None: {self.ema}")
        _require(
            self.precision == "float32" or self.noise > 0,
            "precision bfloat16 is too coarse for dequantised pictures (noise 0); take float32",
        )
        _require(0 <= self.held_out < 1, f"held_out must lie in [0, 1), not {self.held_out}")
        _require(self.seed >= 0, f"seed must not be negative: {self.seed}")

    def rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0."""
        return warmed_cosine(step, self.steps, warmup=self.warmup, peak=self.learning_rate, final=self.final_rate)


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)
