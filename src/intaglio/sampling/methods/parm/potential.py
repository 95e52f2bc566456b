"""Potential of a candidate: the probability that its picture will pass, by the score of its clean estimate now."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PRIOR = (10.0, 3.0)
"""Deviations of the normal priors of the intercept and of the slope, for scores of deviation 1; where scores part
passing pictures from others without an error, there would else be no finite slope."""
STEPS = 100
"""Newton steps at most; some ten are usual."""
CLOSE = 1e-10
"""Length of the step that ends the fit."""


@dataclass(frozen=True, eq=False)
class Potential:
    """P(the picture passes | score) = 1 / (1 + exp(-a - b (score - m) / d)), at each level of J.

    m and d are the mean and the deviation of the scores that it was fitted to.
    """

    mean: Float[Tensor, "j"]
    deviation: Float[Tensor, "j"]
    weights: Float[Tensor, "j 2"]
    """Intercept a and slope b."""

    @classmethod
    def fit(cls, scores: Float[Tensor, "m j"], passes: Bool[Tensor, "m"]) -> "Potential":
        """The logistic regression of each level, on the logged pictures with a finite score there.

        Where all scores of a level are equal, the potential is the share that passes, whatever the score.
        """
        means, deviations, weights = list[Tensor](), list[Tensor](), list[Tensor]()
        for column in scores.double().unbind(1):
            known = column.isfinite()
            x = column[known]
            mean = x.mean() if len(x) else torch.zeros((), dtype=torch.float64)
            deviation = x.std() if len(x) > 1 and x.std() > 0 else torch.ones((), dtype=torch.float64)
            means.append(mean)
            deviations.append(deviation)
            weights.append(logistic((x - mean) / deviation, passes[known]))
        return cls(torch.stack(means), torch.stack(deviations), torch.stack(weights))

    def __call__(self, place: int, scores: Float[Tensor, "*k"]) -> Float[Tensor, "*k"]:
        """The potentials of scores at the level of that place; NaN for NaN."""
        intercept, slope = self.weights[place]
        return torch.sigmoid(intercept + slope * (scores - self.mean[place]) / self.deviation[place])


def logistic(x: Float[Tensor, "m"], passes: Bool[Tensor, "m"]) -> Float[Tensor, "2"]:
    """Intercept and slope of the logistic regression of `passes` on `x`, the most probable under `PRIOR`."""
    design, wanted = torch.stack([torch.ones_like(x), x], 1), passes.to(x.dtype)
    precision = torch.tensor(PRIOR, dtype=x.dtype) ** -2
    weights = torch.zeros(2, dtype=x.dtype)

    def loss(at: Tensor) -> Tensor:
        logits = design @ at
        return (torch.nn.functional.softplus(logits) - wanted * logits).sum() + 0.5 * (precision * at**2).sum()

    for _ in range(STEPS):
        chance = torch.sigmoid(design @ weights)
        gradient = design.T @ (chance - wanted) + precision * weights
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + precision.diag()
        step, length = torch.linalg.solve(curvature, gradient), 1.0
        while loss(weights - length * step) > loss(weights) and length > CLOSE:
            length /= 2
        weights = weights - length * step
        if float(step.norm()) < CLOSE:
            break
    return weights
