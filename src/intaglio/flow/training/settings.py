"""Settings of TarFlow training: architecture, input noise, optimizer."""

from dataclasses import dataclass
from typing import Literal

from intaglio.errors import require
from intaglio.learning.settings import CosineSettings
from intaglio.models.flow.config import MOST_BLOCKS

LARGEST = {"resolution": 8192, "patch_size": 8192, "hidden_size": 2**15, "blocks": MOST_BLOCKS, "head_dim": 2**15}
"""Upper ends of the settings of size."""
MOST_WEIGHTS = 10**11
"""Weights of the largest flow that is made."""


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
        for name, most in LARGEST.items():
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1, not {value}")
            require(value <= most, f"{name} must be at most {most}, which no machine trains: {value}")
        require(self.resolution % self.patch_size == 0, f"patch_size must divide {self.resolution}: {self.patch_size}")
        require(self.hidden_size % self.head_dim == 0, f"head_dim must divide {self.hidden_size}: {self.head_dim}")
        require(
            len(self.layers) in (1, self.blocks) and min(self.layers) >= 1,
            f"layers wants one number above 0, or one for each of {self.blocks} blocks: {self.layers}",
        )
        require(max(self.layers) <= LARGEST["blocks"], f"layers must be at most {LARGEST['blocks']}: {self.layers}")
        every = self.layers if len(self.layers) > 1 else self.layers * self.blocks
        weights = 12 * self.hidden_size**2 * sum(every)  # of attention and MLP, by far the most
        require(weights <= MOST_WEIGHTS, f"hidden_size, blocks and layers make {weights:,} weights; take smaller ones")
        require(self.soft_clip is None or self.soft_clip > 0, f"soft_clip must be above 0, or None: {self.soft_clip}")


@dataclass(frozen=True, kw_only=True)
class FlowTraining(CosineSettings, FlowShape):
    """Settings of the maximum-likelihood training of a TarFlow.

    Together with the pictures they determine the weights; a wrong value raises `ValueError`.
    """

    noise: float = 0.1
    """Standard deviation, in [0, 1), of Gaussian noise added to pictures in [-1, 1], for samples; 0 dequantises, for
    likelihoods."""
    label_dropout: float = 0.1
    """Share of the labels, in [0, 1), that are left out, so that the flow can be guided."""
    mirror: bool = False
    """Show each picture mirrored half of the time."""
    minutes: float | None = None
    """Minutes of training in place of steps: a few steps are timed first, and as many are made as fit; None goes by the
    steps."""
    batch: int = 64
    """Pictures a step."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW, above 0."""
    final_rate: float = 1e-6
    """Learning rate at the end of the cosine, in 0..learning_rate."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of AdamW's first and second moments, each in [0, 1)."""
    weight_decay: float = 1e-4
    """AdamW's decoupled decay, as a fraction of the learning rate."""
    ema: float | None = 0.999
    """Decay in (0, 1) of an exponential mean of the weights, which is then what is kept; None keeps the last ones."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the transformers while training; exponentials are always float32. bfloat16 needs noise above 0."""
    held_out: float = 0.05
    """Share of the pictures, in [0, 1), that is never trained on, for the held-out loss; 0 keeps none."""
    judge_every: int = 250
    """Steps between two measurements of the held-out loss."""
    seed: int = 0
    """Decides the first weights, the order of the pictures, their noise and the labels left out; 0 or more."""

    def __post_init__(self) -> None:
        CosineSettings.__post_init__(self)
        FlowShape.__post_init__(self)
        for name in ("batch", "judge_every"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(self.batch <= 10**6, f"batch must be at most a million, not {self.batch}")
        require(0 <= self.noise < 1, f"noise must lie in [0, 1), not {self.noise}")
        require(0 <= self.label_dropout < 1, f"label_dropout must lie in [0, 1), not {self.label_dropout}")
        require(self.minutes is None or self.minutes > 0, f"minutes must be above 0, or None: {self.minutes}")
        require(
            self.precision == "float32" or self.noise > 0,
            "precision bfloat16 is too coarse for dequantised pictures (noise 0); take float32",
        )
        require(0 <= self.held_out < 1, f"held_out must lie in [0, 1), not {self.held_out}")
        require(self.seed >= 0, f"seed must not be negative: {self.seed}")
