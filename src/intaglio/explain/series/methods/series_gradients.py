"""series-gradients: gradients along the way from the mean series."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.series.family import SeriesExplainer
from intaglio.explain.series.series_network import Series, SeriesNetwork
from intaglio.explain.series.taught_series import SeriesLessons
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class SeriesGradients(SeriesExplainer):
    """Integrated gradients from the mean series, by size.

    |(x - b) times the integral over a in [0, 1] of the derivative of the called class's logit at b + a (x - b)|, b the
    mean over learnt series of each time and channel, by Gauss-Legendre.

    Source: Sundararajan, Taly and Yan, arXiv 1703.01365.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the size of the point's share in the difference of its logit from the mean series's"

    halts: int = 32
    """Series on the way whose gradients are taken, 1 to 1000."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.halts <= 1000, f"halts must be 1 to 1000, not {self.halts}")

    def importances(
        self, network: SeriesNetwork, lessons: SeriesLessons, values: Series, called: Int[Tensor, "m"], run: Run
    ) -> Series:
        """See the room."""
        base = lessons.values.mean(0)
        found = [
            shares(network, base, part, some, self.halts)
            for part, some in zip(values.split(self.batch), called.split(self.batch), strict=True)
        ]
        return torch.cat(found).abs()

    def seconds(self, learnt: int, held: int, points: int, step: float, row: float) -> float:
        """A gradient a series on the way."""
        return step * held * self.halts


def shares(network: SeriesNetwork, base: Tensor, values: Series, called: Int[Tensor, "m"], steps: int) -> Series:
    """Shares of the points in the differences of logits; they add up to these, up to the steps."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(values)
    with torch.enable_grad():
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            given = (base + node * (values - base)).requires_grad_()
            logit = network(given).logits.gather(1, called[:, None]).sum()
            total += weight * torch.autograd.grad(logit, given)[0]
    return total * (values - base)
