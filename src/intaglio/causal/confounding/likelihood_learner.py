"""Differentiable search for linear ADMGs by their Gaussian likelihood, in place of least squares."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from intaglio.causal.confounding.gaussian_likelihood import definite, likelihood_gradients
from intaglio.causal.confounding.masked_adam import MaskedAdam
from intaglio.causal.confounding.mixed_graph_learner import BOX, MixedGraphLearner, Restarts
from intaglio.causal.confounding.penalties import violation_gradients

RATES = (0.03, 0.003)
"""Learning rates of the first and of the last step of a round, with a geometric decay between them."""
LARGEST_LOG_VARIANCE = 7.0
"""Largest absolute logarithm of an error's variance, over that of its column."""


@dataclass(frozen=True, kw_only=True)
class LikelihoodLearner(MixedGraphLearner):
    """Minimises the negative log-likelihood + Σ λ tanh(½ log(n) |θ|) + α h over B, W and ω, for several restarts.

    As `MixedGraphLearner`, but for the loss. Least squares weighs all errors alike, so that a point's loss depends on
    the scales of the columns, and its pseudo-variables hold the errors' covariance fixed through a round; here Ω moves
    with B at each step. λ is in units of the likelihood of one row: log(n) / (2 n) is the BIC's.
    """

    def _round(self, state: Restarts, running: Int64[Tensor, "k"]) -> None:
        """A round of steps on the objective, in place."""
        point = torch.stack([state.arrows[running], state.doubles[running].tril(-1)], 1)
        logs = state.variances[running].log()
        weight = self.weight(state.rounds[running])
        free = torch.stack([self.space.arrows, self.space.doubles.tril(-1)])
        optimiser, of_logs = MaskedAdam(point), MaskedAdam(logs)
        everywhere, bound = torch.ones_like(logs, dtype=torch.bool), self.covariance.diagonal().log()
        for step in range(self.steps):
            along, along_logs = self._gradients(point, logs, weight)
            rate = RATES[0] * (RATES[1] / RATES[0]) ** (step / max(1, self.steps - 1))
            mask = (free & self._pairs(state, running, step).unsqueeze(1)).expand_as(point)
            point = optimiser.step(point, along, self._shrinkage(point), rate, mask).clamp(-BOX, BOX)
            logs = of_logs.step(logs, along_logs, torch.zeros_like(logs), rate, everywhere)
            logs = logs.clamp(bound - LARGEST_LOG_VARIANCE, bound + LARGEST_LOG_VARIANCE)
            doubles = definite(point[:, 1] + point[:, 1].mT, logs.exp())
            point = torch.stack([point[:, 0], doubles.tril(-1)], 1)
        state.arrows[running], state.doubles[running] = point[:, 0], point[:, 1] + point[:, 1].mT
        state.variances[running] = logs.exp()

    def _gradients(
        self, point: Float64[Tensor, "k 2 d d"], logs: Float64[Tensor, "k d"], weight: Float64[Tensor, "k"]
    ) -> tuple[Float64[Tensor, "k 2 d d"], Float64[Tensor, "k d"]]:
        """Gradients of the smooth part with respect to B and the lower triangle of W, and to log ω."""
        arrows, doubles = point[:, 0], point[:, 1] + point[:, 1].mT
        fit = likelihood_gradients(self.covariance, arrows, doubles, logs.exp())
        _, *by_h = violation_gradients(arrows, doubles, self.kind)
        pull = weight[:, None, None]
        along_doubles = fit.doubles + pull * by_h[1]
        return torch.stack([fit.arrows + pull * by_h[0], along_doubles + along_doubles.mT], 1), fit.log_variances
