"""From a network's logits to probabilities that hold, by maps that depend on the numbers of rows and columns."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch.nn.functional import softplus

RELIABILITY_BINS = 10
Coefficients = tuple[float, float, float]
"""Of 1, log10(rows / 500) and log10(columns / 10)."""


def _size(
    rows: Float[ndarray, "..."] | float | int, columns: Float[ndarray, "..."] | float | int
) -> Float[ndarray, "... 3"]:
    rows, columns = np.broadcast_arrays(np.asarray(rows, np.float64), np.asarray(columns, np.float64))
    return np.stack([np.ones_like(rows), np.log10(rows / 500), np.log10(columns / 10)], -1)


@dataclass(frozen=True)
class Scaling:
    """logit' = softplus(a·s)·logit + b·s with s = (1, log10(rows / 500), log10(columns / 10))."""

    slope: Coefficients = (float(np.log(np.e - 1)), 0.0, 0.0)
    offset: Coefficients = (0.0, 0.0, 0.0)

    def __call__(self, logits: Float[ndarray, "..."], rows: float | int, columns: float | int) -> Float[ndarray, "..."]:
        """The logits of a table of this size, calibrated."""
        size = _size(rows, columns)
        return np.logaddexp(0, size @ np.array(self.slope)) * logits + size @ np.array(self.offset)


def fit_scaling(
    logits: Float[ndarray, "k"], true: Bool[ndarray, "k"], rows: Float[ndarray, "k"], columns: Float[ndarray, "k"]
) -> Scaling:
    """The scaling of least cross-entropy; the usual one where there is only one kind of answer."""
    if len(true) == 0 or true.all() or not true.any():
        return Scaling()
    size, x = torch.from_numpy(_size(rows, columns)), torch.from_numpy(np.asarray(logits, np.float64))
    label = torch.from_numpy(true.astype(np.float64))
    weights = torch.tensor([*Scaling().slope, *Scaling().offset], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        mapped = softplus(size @ weights[:3]) * x + size @ weights[3:]
        # A faint pull to the start keeps the slopes defined where one size or one answer is all there is.
        pull = 1e-5 * (weights - torch.tensor([*Scaling().slope, *Scaling().offset])).square().sum()
        value = torch.nn.functional.binary_cross_entropy_with_logits(mapped, label) + pull
        value.backward()
        return value

    optimiser.step(loss)
    found = [float(w) for w in weights.detach()]
    return Scaling((found[0], found[1], found[2]), (found[3], found[4], found[5]))


@dataclass(frozen=True)
class Calibration:
    """The scalings of a network's heads."""

    skeleton: Scaling = Scaling()
    colliders: Scaling = Scaling()
    forward: Scaling = Scaling()
    """Of the logit that an edge is compelled, whichever way, against reversible."""
    arrows: Scaling = Scaling()

    def to_json(self) -> dict[str, dict[str, list[float]]]:
        """As plain values."""
        return {name: {key: list(value) for key, value in one.items()} for name, one in asdict(self).items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Mapping[str, list[float]]]) -> "Calibration":
        """Read back from `to_json`; exact."""
        return cls(**{name: Scaling(_three(one["slope"]), _three(one["offset"])) for name, one in stored.items()})


def _three(values: list[float]) -> Coefficients:
    first, second, third = (float(value) for value in values)
    return first, second, third


@dataclass(frozen=True)
class Reliability:
    """How far probabilities hold: bins of equal width, with what was said and what was so."""

    said: tuple[float, ...]
    """Mean probability in each bin that has any."""
    was: tuple[float, ...]
    """Share that was so."""
    count: tuple[int, ...]

    @classmethod
    def of(cls, p: Float[ndarray, "k"], true: Bool[ndarray, "k"]) -> "Reliability":
        """Over `BINS` bins of [0, 1]."""
        place = np.minimum((np.asarray(p) * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
        kept = [place == k for k in range(RELIABILITY_BINS) if (place == k).any()]
        return cls(
            tuple(float(p[one].mean()) for one in kept),
            tuple(float(true[one].mean()) for one in kept),
            tuple(int(one.sum()) for one in kept),
        )

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance of said and was, weighted by the bins' counts."""
        total = max(1, sum(self.count))
        gaps = (n * abs(a - b) for a, b, n in zip(self.said, self.was, self.count, strict=True))
        return sum(gaps) / total


def probability(logits: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    """1 / (1 + exp(-logit)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -np.asarray(logits, np.float64))))


def compelled_logit(marks: Float[ndarray, "*b 3"]) -> Float[ndarray, "*b"]:
    """Logit that an edge is compelled, whichever way, against reversible; from logits of the three marks."""
    return np.asarray(np.logaddexp(marks[..., 0], marks[..., 1]) - marks[..., 2])
