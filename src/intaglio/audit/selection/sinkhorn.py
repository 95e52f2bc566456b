"""Optimal transport between two sets of points, with entropy (Sinkhorn), in the domain of logarithms."""

from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import IntaglioError

ROUNDS = 2000
"""Rounds at most at each blur."""
WORST = 0.01
"""Mass, of one, by which the row sums may be off after so many."""


def transport(
    cost: Float[Tensor, "a b"], blur: float, *, tolerance: float = 1e-6
) -> tuple[float, Float[Tensor, "a b"]]:
    """The transport cost <plan, cost>, and the plan, [a, b], between uniform weights on rows and on columns.

    The plan minimises <plan, cost> + blur * KL(plan | product of the weights), blur in the unit of the cost: 0 is in
    the limit the plan without entropy. The blur falls in steps from the largest cost, so that few rounds are needed.

    Source: Cuturi, arXiv 1306.0895; in logarithms with a falling blur Schmitzer, arXiv 1610.06519.

    Args:
        cost: of moving the unit from each row to each column, finite, float64.
        blur: above 0.
        tolerance: of the row sums' deviation, in total, at which the last blur's rounds end early.

    Raises `IntaglioError` where rounds without end leave a hundredth of the mass or more in a wrong row.
    """
    rows, columns = cost.shape
    g = torch.zeros(columns, dtype=cost.dtype)
    scale = max(float(cost.max()), blur)
    lacking = 0.0
    while True:
        for _ in range(ROUNDS):
            f = -scale * torch.logsumexp((g[None] - cost) / scale - log(columns), dim=1)
            g = -scale * torch.logsumexp((f[:, None] - cost) / scale - log(rows), dim=0)
            plan = torch.exp((f[:, None] + g[None] - cost) / scale - log(rows) - log(columns))
            lacking = float((plan.sum(1) - 1 / rows).abs().sum())
            if lacking < (tolerance if scale == blur else 1e-3):
                break
        if scale == blur and lacking > WORST:
            raise IntaglioError(f"the transport did not settle in {ROUNDS} rounds; take a larger blur than {blur:g}")
        if scale == blur:
            return float((plan * cost).sum()), plan
        scale = max(scale / 2, blur)
