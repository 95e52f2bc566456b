"""spline-head: a sum of one curve for each of a few principal numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.decomposition import PCA
from sklearn.preprocessing import SplineTransformer

from intaglio.errors import BadInput, require
from intaglio.explain.heads.family import Kind, ReadableHead
from intaglio.explain.heads.fitted_head import FittedHead, HeadExplanation, Places, most_of
from intaglio.explain.logistic_fits import chosen_logistic, weights_by_class
from intaglio.explain.probe_scores import Codes

ROUNDING = 1e-9
SHOWN_NUMBERS = 4
"""Principal numbers with pictures."""


@dataclass(frozen=True, kw_only=True)
class SplineHead(ReadableHead):
    """Additive model: one piecewise linear curve for each of a few principal numbers.

    Mean features x [d] are taken to their first J principal numbers z_j, of deviation 1; the logit of class k is b_k +
    sum_j g_kj(z_j), where g_kj is linear between knots at quantiles of z_j and goes on straight beyond them. It is
    fitted by logistic regression on the splines' basis, with an L2 penalty chosen within. A person reads the J values
    of the curves. The function family of self-interpretable networks (generalised additive models), on frozen features.
    """

    kind: ClassVar[Kind] = "function"
    reading: ClassVar[str] = "the value of each principal number's curve"

    count: int = 16
    """Principal numbers J, 1 to 256; at most as many as vary."""
    knots: int = 16
    """Knots of each curve, 2 to 64; fewer where values are equal."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.count <= 256, f"count must be 1 to 256, not {self.count}")
        require(2 <= self.knots <= 64, f"knots must be 2 to 64, not {self.knots}")

    def fitted(self, places: Places, truth: Codes, groups: Codes, classes: int) -> FittedHead:
        """See the family. Raises `BadInput` for features that do not differ."""
        rows = places.mean(1)
        if np.ptp(rows, axis=0).max() <= ROUNDING:
            raise BadInput("the features of the pictures do not differ; take another layer")
        principal = PCA(min(self.count, *rows.shape), svd_solver="full").fit(rows)
        varied = principal.explained_variance_ > ROUNDING * max(1.0, principal.explained_variance_.max())
        numbers = _principal(principal, varied, rows)
        curves = [_curve(one, self.knots) for one in numbers.T]
        head = chosen_logistic(_basis(curves, numbers), truth, groups, self.strengths, self.seed)
        return _Splines(principal, varied, tuple(curves), head)


@dataclass(frozen=True, eq=False)
class _Splines(FittedHead):
    principal: PCA
    varied: ndarray
    curves: tuple[SplineTransformer, ...]
    head: Any

    def predict(self, places: Places) -> Codes:
        """See the contract."""
        return self.head.predict(_basis(self.curves, self.numbers(places)))

    def sizes(self, places: Places) -> Float[ndarray, "m"]:
        """See the contract: a value for each principal number."""
        return np.full(len(places), float(len(self.curves)))

    def numbers(self, places: Places) -> Float[ndarray, "m j"]:
        """Principal numbers of pictures, of deviation 1 in those that it was fitted to."""
        return _principal(self.principal, self.varied, places.mean(1))

    def values(self, places: Places) -> Float[ndarray, "m j k"]:
        """g_kj(z_j) of each picture, less its mean over these pictures."""
        numbers = self.numbers(places)
        weights = weights_by_class(self.head[1]) / self.head[0].scale_
        found, start = list[ndarray](), 0
        for j, curve in enumerate(self.curves):
            basis = curve.transform(numbers[:, [j]])
            found.append(basis @ weights[:, start : start + basis.shape[1]].T)
            start += basis.shape[1]
        values = np.stack(found, 1)
        return values - values.mean(0)

    def explained(self, places: Places, names: Sequence[str], truth: Codes, classes: Sequence[str]) -> HeadExplanation:
        """See the contract: what each number speaks for at its ends, and pictures there."""
        numbers, values = self.numbers(places), self.values(places)
        spread = values.std(0).max(1)
        order = np.argsort(-spread, kind="stable")
        table, pictures = list[tuple[str, ...]](), list[tuple[str, tuple[str, ...]]]()
        for j in order.tolist():
            ends = [int(np.argsort(numbers[:, j], kind="stable")[round(at * (len(numbers) - 1))]) for at in ENDS]
            told = [_spoken(values[one, j], classes) for one in ends]
            table.append((f"number {j}", *told, f"{spread[j]:.2f}"))
        for j in order[:SHOWN_NUMBERS].tolist():
            pictures.append((f"Least of number {j}", most_of(-numbers[:, j], names)))
            pictures.append((f"Most of number {j}", most_of(numbers[:, j], names)))
        text = (
            "The label that each principal number speaks for most at its 5th, 50th and 95th percentile, with the value "
            "of its curve there; the spread is the largest deviation of its curves over pictures."
        )
        heads = ("principal number", "when small", "in the middle", "when large", "spread")
        return HeadExplanation(text, heads, tuple(table), tuple(pictures))


ENDS = (0.05, 0.5, 0.95)
"""Quantiles of a principal number at which its curves are told."""


def _spoken(values: Float[ndarray, "k"], classes: Sequence[str]) -> str:
    most = int(np.argmax(values))
    return f"{classes[most]} {values[most]:+.2f}"


def _principal(principal: PCA, varied: ndarray, rows: Float[ndarray, "m d"]) -> Float[ndarray, "m j"]:
    return (principal.transform(rows) / np.sqrt(np.maximum(principal.explained_variance_, ROUNDING)))[:, varied]


def _curve(values: Float[ndarray, "m"], knots: int) -> SplineTransformer:
    """Splines of degree 1 with knots at different quantiles of the values."""
    places = np.unique(np.quantile(values, np.linspace(0, 1, knots)))
    apart = places[np.concatenate([[True], np.diff(places) > ROUNDING])]
    return cast(Any, SplineTransformer)(degree=1, knots=apart[:, None], extrapolation="linear").fit(values[:, None])


def _basis(curves: Sequence[SplineTransformer], numbers: Float[ndarray, "m j"]) -> Float[ndarray, "m b"]:
    return np.concatenate([one.transform(numbers[:, [j]]) for j, one in enumerate(curves)], 1)
