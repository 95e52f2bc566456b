"""LoRA: fine-tuning of low-rank updates beside frozen weights; the result is a file of megabytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from intaglio.adapt.low_rank_tuning import FURTHER_TARGETS, LowRankTuning
from intaglio.models.lora.lora import DENOISER_TARGETS


@dataclass(frozen=True, kw_only=True)
class LoRATuning(LowRankTuning):
    """LoRA: train low-rank updates of the attention projections on a few pictures.

    Each target's weight W [out, in] acts as W + alpha / rank * up @ down, where down [rank, in] starts random and up
    [out, rank] at zero, so that training begins at the base itself; W stays. Loss and class pictures are DreamBooth's.
    Ranks of 4 to 32 and rates of 1e-4 to 5e-4 are usual for Stable Diffusion.

    With `base_precision` W is kept in 4 or 8 bits and the update learns beside what is unpacked of it (QLoRA); the file
    then fits that base best, and any base of the same weights.

    With `bayesian` every up is random in training, those of convolutions too, which are linear maps of the rank's
    features as any other; down is not, so that the product stays Gaussian given it. The published sigma is meant for a
    down of deviation 1 / rank, and Kaiming's is smaller: sigma is scaled up by the ratio, a layer at a time, so that
    the noise in up @ down is the published, sigma / sqrt(rank).

    Source: arXiv 2106.09685; of the random weights arXiv 2405.19931; of packed weights arXiv 2305.14314.
    """

    reading: ClassVar[str] = "Low-rank update tuned (LoRA)"
    usual_rate: ClassVar[float] = 1e-4
    embedded_rate: ClassVar[float] = 1e-3
    # Of rates from 1e-3 to 4e-3 the last fell deepest on the two sets that it was chosen on. Sigma is the paper's: at
    # 0.03 likeness hardly rose. With attention alone the loss on the embedded base hardly falls (`bench.kit.suspects`).
    bench: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"learning_rate": 4e-3, "sigma": 0.01, "rank": 8, "targets": (*DENOISER_TARGETS, *FURTHER_TARGETS)}
    )

    learning_rate: float | None = None
    """Highest learning rate of AdamW, above 0; None takes 1e-4, and 1e-3 for an embedded model, which is small."""
