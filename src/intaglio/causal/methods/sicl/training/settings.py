"""What decides a network's weights: its kind and size, what it is shown, and how it goes down."""

import math
from dataclasses import dataclass
from typing import Literal

from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.learning.rates import warmed_cosine

Kind = Literal["light", "axial", "node-edge"]


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """The size of a network."""

    network: Kind = "light"
    """light: all heads in one pass, with statistics of all rows; axial: SiCL's two networks as published; node-edge:
    each arrow by itself, the baseline."""
    width: int = 32
    """Of a cell's token; 128 as published."""
    heads: int = 4
    """Of attention among the tokens; they divide the width; 8 as published."""
    blocks: int = 1
    """Of attention among the tokens; 6 as published, of two layers each."""
    factors: int = 8
    """Of light: numbers that a cell gives to the products with the other cells of its row."""
    pair_width: int = 48
    """Of light: the state of a pair of columns."""
    pair_layers: int = 4
    """Of light: updates of the pairs."""
    channels: int = 24
    """Of light: of the products and sums over third columns."""

    @property
    def shape(self) -> dict[str, int]:
        """What a network of this kind is made with."""
        names = ["width", "heads", "blocks"]
        if self.network == "light":
            names += ["factors", "pair_width", "pair_layers", "channels"]
        return {name: getattr(self, name) for name in names}

    def _check_size(self) -> None:
        for name in ("width", "heads", "factors", "pair_width", "pair_layers", "channels"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        _require(self.blocks >= 0, f"blocks must not be negative: {self.blocks}")
        _require(self.width % self.heads == 0, f"heads must divide the width ({self.width}), not {self.heads}")
        usual = NetworkSize.__dataclass_fields__
        for name in ("factors", "pair_width", "pair_layers", "channels"):
            same = getattr(self, name) == usual[name].default
            _require(self.network == "light" or same, f"{name} is of light networks; leave it out for {self.network}")


@dataclass(frozen=True, kw_only=True)
class Teaching(NetworkSize, Curriculum):
    """The settings of a training; a wrong value raises `ValueError`."""

    steps: int = 10_000
    """Updates of the weights."""
    learning_rate: float = 1e-3
    """Of AdamW, at its highest."""
    final_rate: float = 1e-5
    """Where the cosine ends."""
    warmup: int = 500
    """Steps over which the rate rises linearly; at most a tenth of all steps are taken."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of AdamW's first and second moments, each in [0, 1)."""
    weight_decay: float = 0.01
    """AdamW's decoupled decay, as a fraction of the learning rate."""
    clip: float | None = 1.0
    """Largest norm of the gradient; None leaves it as it is."""
    ema: float | None = 0.999
    """Decay of the mean of the weights, which is what is kept; None keeps the last ones."""
    judge_every: int = 500
    """Steps between two measurements on tables that are never trained on."""
    calibrated_on: int = 3000
    """Simulated tables that the probabilities are calibrated on in the end."""
    proved_on: int = 1500
    """Other tables that the calibration is then measured on."""
    weighed_on: int = 600
    """Simulated tables that decide how much a score of the rows weighs in the refinement of a graph; 0 for none."""
    seed: int = 0
    """Of the first weights and of all tables."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_size()
        for name in ("steps", "judge_every", "calibrated_on", "proved_on"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        _require(self.weighed_on >= 0, f"weighed_on must not be negative: {self.weighed_on}")
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
        _require(0 <= self.seed < 10_000_000, f"seed must lie in 0..9,999,999, not {self.seed}: others are for proofs")

    def rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0."""
        return warmed_cosine(step, self.steps, warmup=self.warmup, peak=self.learning_rate, final=self.final_rate)


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)
