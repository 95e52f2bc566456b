"""coral: a classifier whose encoder gives environments the same covariances."""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.causal.transfer.encoded_outcomes import EncodedOutcomes
from intaglio.causal.transfer.family import EnvironmentTransfer
from intaglio.causal.transfer.transfer_network import TransferNetwork
from intaglio.errors import require


@dataclass(frozen=True, kw_only=True)
class AlignedCovariances(EnvironmentTransfer):
    """Cross-entropy of all known rows, with covariances alike in all environments.

    The distance of two covariances is ||C_a - C_b||^2 / (4 k^2) for k encoded numbers, and its mean over pairs of
    environments is added, times a weight. Once the target's rows are there they are one more environment, as in the
    source, which knows two domains; outcomes of the target are half of the loss.

    Source: Sun and Saenko, arXiv 1607.01719 (Deep CORAL).
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "a classifier of numbers whose covariances are alike in all environments"
    refits: ClassVar[str] = "all weights, by the covariances"

    numbers: int = 16
    """Numbers that the encoder gives, 1 to 128."""
    weight: float = 1.0
    """Of the distance beside the cross-entropy, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.numbers <= 128, f"numbers must be 1 to 128, not {self.numbers}")
        require(0 <= self.weight < math.inf, f"weight must be 0 or more, and finite, not {self.weight}")

    def network(self, inputs: int, classes: int, environments: int) -> TransferNetwork:
        """See the base."""

        def penalty(encoded: Float[Tensor, "n k"], places: Int64[Tensor, "n"]) -> Float[Tensor, ""]:
            return self.weight * covariance_distance(encoded, places)

        return EncodedOutcomes(inputs, classes, self.numbers, self.hidden, self.seed, penalty)


def covariance_distance(encoded: Float[Tensor, "n k"], places: Int64[Tensor, "n"]) -> Float[Tensor, ""]:
    """Mean over pairs of environments of ||C_a - C_b||^2 / (4 k^2); environments of fewer than two rows count not."""
    parts = [encoded[places == one] for one in places.unique().tolist()]
    found = [torch.cov(part.T).reshape(part.shape[1], part.shape[1]) for part in parts if len(part) > 1]
    pairs = [((one - two) ** 2).sum() / (4 * encoded.shape[1] ** 2) for one, two in combinations(found, 2)]
    return torch.stack(pairs).mean() if pairs else encoded.new_zeros(())
