"""Settings of SiCL training: kind and size of the network, curriculum, optimizer."""

from dataclasses import dataclass
from typing import Literal

from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.errors import require
from intaglio.learning.settings import CosineSettings

Kind = Literal["light", "axial", "node-edge"]


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """The size of a network."""

    network: Kind = "light"
    """light: all heads in one pass, with statistics of all rows; axial: SiCL's two networks as published; node-edge:
    each arrow by itself, the baseline."""
    width: int = 32
    """Width of a cell's token; 128 as published."""
    heads: int = 4
    """Attention heads among the tokens; they divide the width; 8 as published."""
    blocks: int = 1
    """Blocks of attention among the tokens; 6 as published, of two layers each."""
    factors: int = 8
    """light only: numbers that a cell gives to the products with the other cells of its row."""
    pair_width: int = 48
    """light only: width of the state of a pair of columns."""
    pair_layers: int = 4
    """light only: layers that update the pairs."""
    channels: int = 24
    """light only: channels of the products and sums over third columns."""

    @property
    def shape(self) -> dict[str, int]:
        """The arguments of a network of this kind."""
        names = ["width", "heads", "blocks"]
        if self.network == "light":
            names += ["factors", "pair_width", "pair_layers", "channels"]
        return {name: getattr(self, name) for name in names}

    def _check_size(self) -> None:
        for name in ("width", "heads", "factors", "pair_width", "pair_layers", "channels"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(self.blocks >= 0, f"blocks must not be negative: {self.blocks}")
        require(self.width % self.heads == 0, f"heads must divide the width ({self.width}), not {self.heads}")
        usual = NetworkSize.__dataclass_fields__
        for name in ("factors", "pair_width", "pair_layers", "channels"):
            same = getattr(self, name) == usual[name].default
            require(self.network == "light" or same, f"{name} is of light networks; leave it out for {self.network}")


@dataclass(frozen=True, kw_only=True)
class SiCLTraining(CosineSettings, NetworkSize, Curriculum):
    """Settings of a training; together they decide the weights. A wrong value raises `ValueError`."""

    steps: int = 10_000
    """Updates of the weights."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW, above 0."""
    final_rate: float = 1e-5
    """Learning rate at the end of the cosine, in 0..learning_rate."""
    warmup: int = 500
    """Steps over which the rate rises linearly; at most a tenth of all steps are taken."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of AdamW's first and second moments, each in [0, 1)."""
    ema: float | None = 0.999
    """Decay of the mean of the weights, which is what is kept; None keeps the last ones."""
    judge_every: int = 500
    """Steps between two measurements on tables that are never trained on."""
    calibrated_on: int = 3000
    """Simulated tables that the probabilities are calibrated on at the end."""
    proved_on: int = 1500
    """Other tables that the calibration is then measured on."""
    weighed_on: int = 600
    """Simulated tables that decide how much a score of the rows weighs in the refinement of a graph; 0 for none."""
    seed: int = 0
    """Decides the first weights and all tables; 0 to 9,999,999."""

    def __post_init__(self) -> None:
        CosineSettings.__post_init__(self)
        Curriculum.__post_init__(self)
        self._check_size()
        for name in ("judge_every", "calibrated_on", "proved_on"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(self.weighed_on >= 0, f"weighed_on must not be negative: {self.weighed_on}")
        require(0 <= self.seed < 10_000_000, f"seed must lie in 0..9,999,999, not {self.seed}: others are for proofs")
