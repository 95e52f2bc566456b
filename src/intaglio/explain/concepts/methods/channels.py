"""channels: the layer's own channels as concepts."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.explain.concepts.family import ConceptFinder


@dataclass(frozen=True, kw_only=True)
class ChannelConcepts(ConceptFinder):
    """Single channels of the layer, those that vary most over crops.

    All others are dropped. Codes are the channels' own numbers.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "a single channel of the layer"

    def bank(self, features: Float[ndarray, "n c"]) -> Float[ndarray, "k c"]:
        """See the class."""
        chosen = np.argsort(-features.var(0), kind="stable")[: self.count]
        return np.eye(features.shape[1])[chosen]

    def codes(self, features: Float[ndarray, "n c"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "n k"]:
        """The channels' numbers."""
        return features @ bank.T

    def slopes(self, code: Float[ndarray, "k"], bank: Float[ndarray, "k c"]) -> Float[ndarray, "k c"]:
        """The channels themselves."""
        return bank
