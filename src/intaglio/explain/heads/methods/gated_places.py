"""gated-places: places of a picture weighed by a gate, then named by their weighted mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.explain.heads.family import Kind, ReadableHead
from intaglio.explain.heads.fitted_head import FittedHead, HeadExplanation, Places
from intaglio.explain.probe_scores import Codes

RATE = 0.02
"""Of Adam."""
SMALLEST = 1e-9
MOST_PICTURES = 12
"""Pictures whose gates are shown."""


@dataclass(frozen=True, kw_only=True)
class GatedPlaces(ReadableHead):
    """Places weighed by a softmax gate, then a linear head on their weighted mean.

    Features x_p [d] of p places are scaled to mean 0 and deviation 1; gates are a = softmax_p(v . x_p), and logits are
    W sum_p a_p x_p + b. All is trained by Adam on cross-entropy with classes of equal weight and an L2 penalty, from v
    = 0 and W = 0, where the gates are even. A person reads the p gates; what the places say, W x_p, is left unread, so
    that this is the least complete of the explanations. The attribution family of self-interpretable networks.
    """

    kind: ClassVar[Kind] = "attribution"
    reading: ClassVar[str] = "the gate of each place"

    decay: float = 0.1
    """Weight of half the squared length of v and W in the loss, divided by d; 0 or more."""
    steps: int = 300
    """Steps of Adam, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.decay < float("inf"), f"decay must be 0 or more, not {self.decay}")
        require(self.steps >= 1, f"steps must be at least 1, not {self.steps}")

    def fitted(self, places: Places, truth: Codes, groups: Codes, classes: int) -> FittedHead:
        """See the family. Raises `BadInput` for pictures of one place."""
        if places.shape[1] < 2:
            raise BadInput("these features have one place a picture, and gates weigh several; give --network")
        every = places.reshape(-1, places.shape[2])
        centre, scale = every.mean(0), np.maximum(every.std(0), SMALLEST)
        given, known = torch.from_numpy((places - centre) / scale), torch.from_numpy(truth)
        gate = torch.zeros(places.shape[2], dtype=torch.float64, requires_grad=True)
        weights = torch.zeros(classes, places.shape[2], dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
        balance = 1 / torch.bincount(known, minlength=classes).clamp(min=1).double()
        optimizer = torch.optim.Adam([gate, weights, bias], lr=RATE)
        with torch.enable_grad():
            for _ in range(self.steps):
                logits = _pooled(given, gate) @ weights.T + bias
                loss = torch.nn.functional.cross_entropy(logits, known, balance)
                length = gate.square().sum() + weights.square().sum()
                optimizer.zero_grad()
                (loss + self.decay / 2 / places.shape[2] * length).backward()
                optimizer.step()
        return _Gated(centre, scale, gate.detach(), weights.detach(), bias.detach())


def _gates(given: Float[Tensor, "m p d"], gate: Float[Tensor, "d"]) -> Float[Tensor, "m p"]:
    return (given @ gate).softmax(1)


def _pooled(given: Float[Tensor, "m p d"], gate: Float[Tensor, "d"]) -> Float[Tensor, "m d"]:
    return (_gates(given, gate)[..., None] * given).sum(1)


@dataclass(frozen=True, eq=False)
class _Gated(FittedHead):
    centre: Float[ndarray, "d"]
    scale: Float[ndarray, "d"]
    gate: Float[Tensor, "d"]
    weights: Float[Tensor, "k d"]
    bias: Float[Tensor, "k"]

    def gates(self, places: Places) -> Float[ndarray, "m p"]:
        """Weight of each place; those of a picture add up to 1."""
        return _gates(self._given(places), self.gate).numpy()

    def predict(self, places: Places) -> Codes:
        """See the contract."""
        return (_pooled(self._given(places), self.gate) @ self.weights.T + self.bias).argmax(1).numpy()

    def sizes(self, places: Places) -> Float[ndarray, "m"]:
        """See the contract: a gate for each place."""
        return np.full(len(places), float(places.shape[1]))

    def explained(self, places: Places, names: Sequence[str], truth: Codes, classes: Sequence[str]) -> HeadExplanation:
        """See the contract: gates of the first picture of each class, and how even they are by class."""
        gates = self.gates(places)
        even = np.exp(-(gates * np.log(np.maximum(gates, SMALLEST))).sum(1))
        rows = tuple((name, f"{even[truth == code].mean():.1f}") for code, name in enumerate(classes))
        first = [int(np.flatnonzero(truth == code)[0]) for code in range(len(classes)) if (truth == code).any()]
        shown = tuple((names[k], tuple(gates[k].tolist())) for k in first[:MOST_PICTURES])
        text = f"Places that the gates let through, of {places.shape[1]}: the exponential of their entropy, as a mean."
        return HeadExplanation(text, ("label", "places"), rows, (), shown)

    def _given(self, places: Places) -> Tensor:
        return torch.from_numpy((places - self.centre) / self.scale)
