"""Maximum likelihood and BIC of a linear Gaussian ADMG, by residual iterative conditional fitting of each district."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log, pi

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from intaglio.causal.graphs.paths import descendants

MOST_SWEEPS, TOLERANCE = 500, 1e-8
"""Most sweeps over the variables of a district, and the largest change of a parameter at which they end."""


@dataclass(frozen=True, eq=False)
class LinearADMG:
    """The parameters of X = X B + E with errors of covariance Ω."""

    arrows: Float64[ndarray, "d k"]
    """B; [i, j] is the coefficient of i → j. Of one district's k variables the columns alone."""
    errors: Float64[ndarray, "k k"]
    """Ω, positive definite."""

    def covariance(self) -> Float64[ndarray, "d d"]:
        """Σ = (1 - B)^-T Ω (1 - B)^-1."""
        inverse = np.linalg.inv(np.eye(len(self.arrows)) - self.arrows)
        return inverse.T @ self.errors @ inverse


District = tuple[tuple[int, ...], tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]
"""Its variables, the parents of each, and the variables in it that each has a double arrow with."""


def districts(directed: Bool[ndarray, "d d"], bidirected: Bool[ndarray, "d d"]) -> list[District]:
    """The sets of variables that double arrows connect; given its parents each has a likelihood of its own."""
    together = descendants(bidirected) | np.eye(len(bidirected), dtype=bool)
    found, left = [], set(range(len(bidirected)))
    while left:
        inside = tuple(np.flatnonzero(together[min(left)]).tolist())
        left -= set(inside)
        parents = tuple(tuple(np.flatnonzero(directed[:, i]).tolist()) for i in inside)
        found.append((inside, parents, tuple(tuple(np.flatnonzero(bidirected[i]).tolist()) for i in inside)))
    return found


@dataclass(frozen=True, eq=False)
class DistrictScores:
    """BIC of ADMGs over one covariance, as a sum over districts; each district is fitted once."""

    covariance: Float64[ndarray, "d d"]
    """S [d, d], positive definite."""
    rows: float
    """Number of rows n."""
    known: dict[District, tuple[float, LinearADMG]] = field(default_factory=dict, init=False, repr=False)

    def bic(self, directed: Bool[ndarray, "d d"], bidirected: Bool[ndarray, "d d"]) -> float:
        """-2 log-likelihood + k log n, with k the edges and the d variances; smaller is better."""
        return sum(self._fitted(district)[0] for district in districts(directed, bidirected))

    def fit(self, directed: Bool[ndarray, "d d"], bidirected: Bool[ndarray, "d d"]) -> LinearADMG:
        """The maximum likelihood parameters of a graph without a directed cycle."""
        d = len(self.covariance)
        arrows, errors = np.zeros((d, d)), np.zeros((d, d))
        for district in districts(directed, bidirected):
            fitted = self._fitted(district)[1]
            arrows[:, district[0]] = fitted.arrows
            errors[np.ix_(district[0], district[0])] = fitted.errors
        return LinearADMG(arrows, errors)

    def _fitted(self, district: District) -> tuple[float, LinearADMG]:
        if district not in self.known:
            fitted = fit_district(self.covariance, *district)
            size, edges = len(district[0]), sum(map(len, district[1])) + sum(map(len, district[2])) // 2
            rest = np.eye(len(self.covariance))[:, district[0]] - fitted.arrows
            moments = rest.T @ self.covariance @ rest
            deviance = np.linalg.slogdet(fitted.errors)[1] + np.trace(np.linalg.solve(fitted.errors, moments))
            score = self.rows * (size * log(2 * pi) + deviance) + (edges + size) * log(self.rows)
            self.known[district] = float(score), fitted
        return self.known[district]


def ricf(
    covariance: Float64[ndarray, "d d"], directed: Bool[ndarray, "d d"], bidirected: Bool[ndarray, "d d"]
) -> LinearADMG:
    """The maximum likelihood fit of an ADMG to a covariance (Drton, Eichler and Richardson, JMLR 10, 2009)."""
    return DistrictScores(covariance, 2.0).fit(directed, bidirected)


def fit_district(
    covariance: Float64[ndarray, "d d"],
    inside: Sequence[int],
    parents: Sequence[Sequence[int]],
    spouses: Sequence[Sequence[int]],
) -> LinearADMG:
    """The fit of one district: `arrows` [d, k] are the coefficients into its k variables, `errors` is [k, k].

    In turn each variable is regressed on its parents and on pseudo-variables, the errors of the others times the
    inverse of their covariance; the likelihood never falls. A variable without double arrows takes one regression.
    """
    d, k = len(covariance), len(inside)
    arrows, errors = np.zeros((d, k)), np.diag(np.diagonal(covariance)[list(inside)]).astype(float)
    place = {variable: number for number, variable in enumerate(inside)}
    for _ in range(MOST_SWEEPS if k > 1 else 1):
        before = arrows.copy(), errors.copy()
        for number in range(k):
            beside = [place[spouse] for spouse in spouses[number]]
            _refit(covariance, arrows, errors, list(inside), number, list(parents[number]), beside)
        if max(np.abs(arrows - before[0]).max(), np.abs(errors - before[1]).max()) < TOLERANCE:
            break
    return LinearADMG(arrows, errors)


def _refit(
    covariance: Float64[ndarray, "d d"],
    arrows: Float64[ndarray, "d k"],
    errors: Float64[ndarray, "k k"],
    inside: list[int],
    number: int,
    parents: list[int],
    beside: list[int],
) -> None:
    """Regresses one variable on its parents and pseudo-variables, and writes coefficients and errors in place."""
    variable = inside[number]
    d = len(covariance)
    others = [place for place in range(len(inside)) if place != number]
    inverse = np.linalg.inv(errors[np.ix_(others, others)])
    rest = np.eye(d)[:, [inside[place] for place in others]] - arrows[:, others]
    pseudo = rest @ inverse[:, [others.index(place) for place in beside]]
    regressors = np.concatenate([np.eye(d)[:, parents], pseudo], 1)
    moments = regressors.T @ covariance
    found = np.linalg.solve(moments @ regressors, moments[:, variable])
    coefficients, covariances = found[: len(parents)], found[len(parents) :]
    arrows[parents, number] = coefficients
    errors[beside, number] = errors[number, beside] = covariances
    left = covariance[variable, variable] - found @ moments[:, variable]
    along = errors[others, number]
    errors[number, number] = left + along @ inverse @ along
