"""clusters: effects of a few latent types of units, which features tell apart."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from intaglio.causal.cate.family import EffectLearner, Effects
from intaglio.causal.cate.trial_units import TrialUnits
from intaglio.errors import require
from intaglio.randomness import generator

PRIOR = 1.0
"""Standard deviation of a type's effect before the data, in standard deviations of the outcome."""


@dataclass(frozen=True, kw_only=True)
class EffectClusters(EffectLearner):
    """A few types of units with an effect each, by variational inference.

    Y = f(x) + W sum_k z_k tau_k, with z a type that is drawn with probabilities that are the softmax of linear
    functions of the features, and tau_k normal. In training z is a relaxed one-hot draw of temperature 1 and tau_k a
    draw of its distribution; the loss is the mean of log cosh of the residual plus the divergence of each tau_k's
    distribution from the prior, over the number of units. f is linear, and features are standardised. A unit's effect
    is the mean over its probabilities. The published model reads pictures by a network that is trained along; here
    features are given.

    Source: Jerzak, Johansson and Daoud, arXiv 2206.06417 (the cluster model).
    """

    reading: ClassVar[str] = "the mean of the types' effects, by the unit's probabilities of being of each"

    types: int = 2
    """Types, 2 to 20."""
    updates: int = 500
    """Steps of Adam, from 1."""
    batch: int = 64
    """Units of a step, from 1."""
    rate: float = 0.01
    """Learning rate, above 0."""
    penalty: float = 1.0
    """Of the squared weights of f and of the probabilities: half of it over the number of units, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(2 <= self.types <= 20, f"types must be 2 to 20, not {self.types}")
        require(self.updates >= 1, f"updates must be at least 1, not {self.updates}")
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        require(self.rate > 0, f"rate must be above 0, not {self.rate}")
        require(self.penalty >= 0, f"penalty must be 0 or more, not {self.penalty}")

    def fit(self, units: TrialUnits) -> Effects:
        """See the class."""
        centre, spread = units.features.mean(0), units.features.std(0)
        spread = np.where(spread > 0, spread, 1)
        mean, scale = units.outcome.mean(), units.outcome.std() or 1.0
        model = _Types(units.features.shape[1], self.types, generator(self.seed, "types"))
        self._train(
            model,
            torch.from_numpy((units.features - centre) / spread),
            torch.from_numpy(units.treated),
            torch.from_numpy((units.outcome - mean) / scale),
        )

        def effects(features: Float[ndarray, "m d"]) -> Float[ndarray, "m"]:
            with torch.no_grad():
                return scale * model.effects(torch.from_numpy((features - centre) / spread)).numpy()

        return effects

    def _train(
        self, model: "_Types", features: Float[Tensor, "n d"], treated: Tensor, outcome: Float[Tensor, "n"]
    ) -> None:
        optimizer = torch.optim.Adam(model.parameters(), self.rate)
        source = generator(self.seed, "draws")
        for _ in range(self.updates):
            some = torch.randint(len(outcome), (min(self.batch, len(outcome)),), generator=source)
            loss = model.loss(features[some], treated[some], outcome[some], source, rows=len(outcome))
            loss = loss + self.penalty / (2 * len(outcome)) * model.squares()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


class _Types(nn.Module):
    """Outcomes of untreated units, probabilities of types, and the distributions of their effects; float64."""

    def __init__(self, inputs: int, types: int, source: torch.Generator):
        super().__init__()
        self.base = nn.Parameter(torch.zeros(inputs, dtype=torch.float64))
        self.start = nn.Parameter(torch.zeros((), dtype=torch.float64))
        drawn = torch.randn(inputs, types, dtype=torch.float64, generator=source)
        self.logits = nn.Parameter(0.1 * drawn / inputs**0.5)
        self.offsets = nn.Parameter(torch.zeros(types, dtype=torch.float64))
        self.means = nn.Parameter(torch.linspace(-0.5, 0.5, types, dtype=torch.float64))
        self.logs = nn.Parameter(torch.full((types,), -2.0, dtype=torch.float64))

    def effects(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        return (features @ self.logits + self.offsets).softmax(1) @ self.means

    def loss(
        self,
        features: Float[Tensor, "n d"],
        treated: Tensor,
        outcome: Float[Tensor, "n"],
        source: torch.Generator,
        *,
        rows: int,
    ) -> Tensor:
        uniform = torch.rand(len(features), len(self.means), dtype=torch.float64, generator=source)
        gumbel = -(-uniform.clamp(1e-12, 1 - 1e-12).log()).log()
        types = (features @ self.logits + self.offsets + gumbel).softmax(1)
        noise = torch.randn(len(self.means), dtype=torch.float64, generator=source)
        drawn = self.means + self.logs.exp() * noise
        left = outcome - self.start - features @ self.base - treated * (types @ drawn)
        cosh = (left.abs() + torch.nn.functional.softplus(-2 * left.abs()) - np.log(2)).mean()
        return cosh + self.divergence() / rows

    def divergence(self) -> Tensor:
        """Of the effects' distributions from the prior, summed over types."""
        variance = (2 * self.logs).exp()
        return 0.5 * ((variance + self.means**2) / PRIOR**2 - 1 - 2 * self.logs + 2 * np.log(PRIOR)).sum()

    def squares(self) -> Tensor:
        return (self.base**2).sum() + (self.logits**2).sum()
