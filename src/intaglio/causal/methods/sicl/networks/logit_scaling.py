"""Calibration of logits by affine maps whose coefficients depend on the numbers of rows and columns."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch.nn.functional import softplus

RELIABILITY_BINS = 10
"""Bins of equal width over [0, 1]."""
Coefficients = tuple[float, float, float]
"""Coefficients of 1, log10(rows / 500) and log10(columns / 10)."""


def _size(
    rows: Float[ndarray, "..."] | float | int, columns: Float[ndarray, "..."] | float | int
) -> Float[ndarray, "... 3"]:
    rows, columns = np.broadcast_arrays(np.asarray(rows, np.float64), np.asarray(columns, np.float64))
    return np.stack([np.ones_like(rows), np.log10(rows / 500), np.log10(columns / 10)], -1)


@dataclass(frozen=True)
class Scaling:
    """The map logit' = softplus(a·s)·logit + b·s with s = (1, log10(rows / 500), log10(columns / 10))."""

    slope: Coefficients = (float(np.log(np.e - 1)), 0.0, 0.0)
    """The coefficients a; the default is a slope of 1."""
    offset: Coefficients = (0.0, 0.0, 0.0)
    """The coefficients b."""

    def __call__(self, logits: Float[ndarray, "..."], rows: float | int, columns: float | int) -> Float[ndarray, "..."]:
        """The calibrated logits of a table of this size."""
        size = _size(rows, columns)
        return np.logaddexp(0, size @ np.array(self.slope)) * logits + size @ np.array(self.offset)


def fit_scaling(
    logits: Float[ndarray, "k"], true: Bool[ndarray, "k"], rows: Float[ndarray, "k"], columns: Float[ndarray, "k"]
) -> Scaling:
    """The scaling of least cross-entropy; the identity where all labels are equal."""
    if len(true) == 0 or true.all() or not true.any():
        return Scaling()
    size, x = torch.from_numpy(_size(rows, columns)), torch.from_numpy(np.asarray(logits, np.float64))
    label = torch.from_numpy(true.astype(np.float64))
    weights = torch.tensor([*Scaling().slope, *Scaling().offset], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        mapped = softplus(size @ weights[:3]) * x + size @ weights[3:]
        # Weak regularisation towards the start keeps coefficients defined where all tables have one size.
        pull = 1e-5 * (weights - torch.tensor([*Scaling().slope, *Scaling().offset])).square().sum()
        value = torch.nn.functional.binary_cross_entropy_with_logits(mapped, label) + pull
        value.backward()
        return value

    optimiser.step(loss)
    found = [float(w) for w in weights.detach()]
    return Scaling((found[0], found[1], found[2]), (found[3], found[4], found[5]))


@dataclass(frozen=True)
class Calibration:
    """The scalings of a network's heads: skeleton, colliders, compelled edges and, for Node-Edge, arrows."""

    skeleton: Scaling = Scaling()
    colliders: Scaling = Scaling()
    forward: Scaling = Scaling()
    """Scaling of the logit that an edge is compelled, in either direction, against reversible."""
    arrows: Scaling = Scaling()

    def to_json(self) -> dict[str, dict[str, list[float]]]:
        """As plain values."""
        return {name: {key: list(value) for key, value in one.items()} for name, one in asdict(self).items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Mapping[str, list[float]]]) -> "Calibration":
        """The calibration that `to_json` was called on; exact."""
        return cls(**{name: Scaling(_three(one["slope"]), _three(one["offset"])) for name, one in stored.items()})


def _three(values: list[float]) -> Coefficients:
    first, second, third = (float(value) for value in values)
    return first, second, third


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: predicted probabilities and observed frequencies, in bins of equal width."""

    predicted: tuple[float, ...]
    """Mean probability in each bin that is not empty."""
    observed: tuple[float, ...]
    """Share of true labels in it."""
    count: tuple[int, ...]
    """Number of predictions in it."""

    @classmethod
    def of(cls, p: Float[ndarray, "k"], true: Bool[ndarray, "k"]) -> "Reliability":
        """The diagram of probabilities with their labels."""
        index = np.minimum((np.asarray(p) * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
        kept = [index == k for k in range(RELIABILITY_BINS) if (index == k).any()]
        return cls(
            tuple(float(p[one].mean()) for one in kept),
            tuple(float(true[one].mean()) for one in kept),
            tuple(int(one.sum()) for one in kept),
        )

    @property
    def ece(self) -> float:
        """Expected calibration error: mean of |predicted - observed| over bins, weighted by their counts."""
        total = max(1, sum(self.count))
        gaps = (n * abs(a - b) for a, b, n in zip(self.predicted, self.observed, self.count, strict=True))
        return sum(gaps) / total

    def to_json(self) -> dict[str, list[float]]:
        """The diagram as plain values, under the names that the files of networks have for them."""
        return {"said": list(self.predicted), "was": list(self.observed), "count": list(self.count)}


def probability(logits: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    """1 / (1 + exp(-logit)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -np.asarray(logits, np.float64))))


def compelled_logit(marks: Float[ndarray, "*b 3"]) -> Float[ndarray, "*b"]:
    """Logit that an edge is compelled, in either direction, against reversible; from logits of the three marks."""
    return np.asarray(np.logaddexp(marks[..., 0], marks[..., 1]) - marks[..., 2])
