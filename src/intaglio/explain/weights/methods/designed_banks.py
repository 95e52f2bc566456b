"""Share of a layer that designed filters explain, beside random filters and the best possible ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.errors import require
from intaglio.explain.weights.family import KernelReader, Kernels
from intaglio.explain.weights.filter_banks import BANKS, explained
from intaglio.randomness import numpy_generator


@dataclass(frozen=True, kw_only=True)
class DesignedBanks(KernelReader):
    """Share of a layer in the span of a few cosines, Gaussian derivatives or Gabor filters.

    Each figure is the share of the kernels' squared length in the span of the best 1, 2, ... filters of a bank, as a
    mean over their number up to `most`: cosines (discrete cosine transform), derivatives (of a Gaussian), gabors,
    random_bank (filters drawn at random) and own (the layer's principal directions, which no bank exceeds). The main
    figure is that of the best designed bank less that of random filters. A layer is called
    random where it does not exceed that of every random layer, designed where it is half or more of what the layer's
    own directions have ahead of random filters, and partly designed otherwise.
    """

    reading = "the share of the best designed bank less that of random filters, as a mean over their number"
    shift_reading = "the largest difference between the two layers' shares of a bank"
    measured: ClassVar[tuple[str, ...]] = ("ahead", *BANKS, "random_bank", "own")

    most: int = 4
    """Filters of a bank, at most; 1 or more. As many as a kernel has numbers explain everything."""
    banks: int = 5
    """Random banks whose shares are averaged, 1 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.most >= 1, f"most must be 1 or more, not {self.most}")
        require(self.banks >= 1, f"banks must be 1 or more, not {self.banks}")

    def figures(self, kernels: Kernels) -> Mapping[str, float]:
        """The shares, by bank."""
        height, width = kernels.shape[2:]
        rows = _principal(kernels.flatten(2).flatten(0, 1).double().numpy())
        most = min(self.most, height * width)

        def share(bank: Float[ndarray, "a k"]) -> float:
            return float(explained(rows, bank, most).mean())

        found = {name: share(bank(height, width).reshape(-1, height * width)) for name, bank in BANKS.items()}
        drawn = [
            numpy_generator(self.seed, number, height, width).standard_normal((height * width, height * width))
            for number in range(self.banks)
        ]
        by_chance = sum(map(share, drawn)) / self.banks
        return {"ahead": max(found.values()) - by_chance, **found, "random_bank": by_chance, "own": share(rows)}

    def verdict(self, kernels: Kernels, figures: Mapping[str, float], chance: Sequence[float]) -> str:
        """Designed, partly or random."""
        if figures["ahead"] <= max(chance):
            return "random"
        return "designed" if figures["ahead"] >= (figures["own"] - figures["random_bank"]) / 2 else "partly"

    def shift(self, kernels: Kernels, others: Kernels) -> float:
        """The largest difference of a bank's share."""
        one, other = self.figures(kernels), self.figures(others)
        return max(abs(one[name] - other[name]) for name in self.measured)


def _principal(rows: Float[ndarray, "n k"]) -> Float[ndarray, "k k"]:
    """At most k rows with the same products between columns: shares of squared lengths are the same."""
    values, vectors = np.linalg.eigh(rows.T @ rows)
    return (np.sqrt(values.clip(0)) * vectors).T[::-1]
