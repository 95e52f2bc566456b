"""Maximum likelihood and BIC of a linear Gaussian ADMG, by residual iterative conditional fitting of each district."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from intaglio.causal.graphs.paths import descendants

MOST_SWEEPS, TOLERANCE = 500, 1e-8
"""Most sweeps over the variables of a district, and the largest change of a parameter at which they end."""
QUICK_SWEEPS, QUICK_TOLERANCE = 20, 1e-4
"""The same for the BIC of a graph beside a fitted one. The likelihood never falls from sweep to sweep, so that the BIC
of fewer is an upper bound."""

NEAR_SWEEPS = 100
"""Most sweeps for the graph that others are compared with."""
PAIR_SWEEPS, PROMISING = 3, 20.0
"""Sweeps over two variables alone, and how far above the best the BIC may then be for a fit of all to be worth it."""


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


class DistrictScores:
    """BIC of ADMGs over one covariance, as a sum over districts; each district is fitted once.

    After a call of `near` fits begin at the parameters of that graph and take few sweeps: enough for graphs that differ
    from it by an edge, and else an upper bound.
    """

    def __init__(self, covariance: Float64[ndarray, "d d"], rows: int):
        """A covariance S [d, d], positive definite, of n rows."""
        self.covariance, self.rows = covariance, rows
        self.start: LinearADMG | None = None
        self.known: dict[District, float] = {}

    def near(self, directed: Bool[ndarray, "d d"], bidirected: Bool[ndarray, "d d"]) -> None:
        """Lets further fits begin at the parameters of a graph; bounds that began at others are forgotten."""
        limits = (NEAR_SWEEPS, QUICK_TOLERANCE)
        found = [(one, self._fitted(one, *limits)) for one in districts(directed, bidirected)]
        self.known = {district: self._score(district, fitted) for district, fitted in found}
        self.start = self._whole(found)

    def bic(self, directed: Bool[ndarray, "d d"], bidirected: Bool[ndarray, "d d"]) -> float:
        """-2 log-likelihood + k log n, with k the edges and the d variances; smaller is better."""
        return sum(self._scored(district) for district in districts(directed, bidirected))

    def quick_bic(self, directed: Bool[ndarray, "d d"], bidirected: Bool[ndarray, "d d"]) -> float:
        """An upper bound of the BIC, by few sweeps."""
        limits = (QUICK_SWEEPS, QUICK_TOLERANCE)
        return sum(self._score(one, self._fitted(one, *limits)) for one in districts(directed, bidirected))

    def fit(self, directed: Bool[ndarray, "d d"], bidirected: Bool[ndarray, "d d"]) -> LinearADMG:
        """The maximum likelihood parameters of a graph without a directed cycle."""
        limits = (MOST_SWEEPS, TOLERANCE)
        return self._whole([(one, self._fitted(one, *limits)) for one in districts(directed, bidirected)])

    def _whole(self, fitted: Sequence[tuple[District, LinearADMG]]) -> LinearADMG:
        d = len(self.covariance)
        arrows, errors = np.zeros((d, d)), np.zeros((d, d))
        for (inside, _, _), part in fitted:
            arrows[:, inside] = part.arrows
            errors[np.ix_(inside, inside)] = part.errors
        return LinearADMG(arrows, errors)

    def changed(
        self, directed: Bool[ndarray, "d d"], bidirected: Bool[ndarray, "d d"], pair: tuple[int, int], best: float
    ) -> float:
        """The BIC of a graph that differs from that of `near` at one pair, or an upper bound of it.

        First only the two variables are fitted anew, with the parameters of all others as they are. Where the BIC is
        then above `best` by more than `PROMISING`, it is given as it stands, and else all are fitted.
        """
        found = districts(directed, bidirected)
        bound = sum(self.known.get(district) or self._beside(district, pair) for district in found)
        return bound if bound > best + PROMISING else sum(map(self._scored, found))

    def _beside(self, district: District, pair: tuple[int, int]) -> float:
        """The score of a district of which only the variables of a pair are fitted; an upper bound."""
        start = None if self.start is None else _restricted(self.start, district)
        if start is None:
            return self._scored(district)
        inside = list(district[0])
        arrows, errors = start.arrows.copy(), start.errors.copy()
        for _ in range(PAIR_SWEEPS):
            for number in (inside.index(variable) for variable in pair if variable in inside):
                beside = [inside.index(spouse) for spouse in district[2][number]]
                _refit(self.covariance, arrows, errors, inside, number, list(district[1][number]), beside)
        return self._score(district, LinearADMG(arrows, errors))

    def _scored(self, district: District) -> float:
        if district not in self.known:
            known = (MOST_SWEEPS, TOLERANCE) if self.start is None else (QUICK_SWEEPS, QUICK_TOLERANCE)
            self.known[district] = self._score(district, self._fitted(district, *known))
        return self.known[district]

    def _score(self, district: District, fitted: LinearADMG) -> float:
        inside, edges = list(district[0]), sum(map(len, district[1])) + sum(map(len, district[2])) // 2
        rest = -fitted.arrows
        rest[inside, range(len(inside))] += 1
        moments = rest.T @ self.covariance @ rest
        deviance = np.linalg.slogdet(fitted.errors)[1] + np.trace(np.linalg.solve(fitted.errors, moments))
        size = len(inside)
        return float(self.rows * (size * log(2 * pi) + deviance) + (edges + size) * log(self.rows))

    def _fitted(self, district: District, sweeps: int, tolerance: float) -> LinearADMG:
        inside, parents, spouses = district
        start = None if self.start is None else _restricted(self.start, district)
        return fit_district(self.covariance, inside, parents, spouses, start, sweeps, tolerance)


def ricf(
    covariance: Float64[ndarray, "d d"], directed: Bool[ndarray, "d d"], bidirected: Bool[ndarray, "d d"]
) -> LinearADMG:
    """The maximum likelihood fit of an ADMG to a covariance (Drton, Eichler and Richardson, JMLR 10, 2009)."""
    return DistrictScores(covariance, 2).fit(directed, bidirected)


def _restricted(whole: LinearADMG, district: District) -> LinearADMG | None:
    """The parameters of a graph where a district has them; None where their errors are not positive definite."""
    inside = list(district[0])
    arrows, errors = np.zeros((len(whole.arrows), len(inside))), np.diag(np.diagonal(whole.errors)[inside])
    for number, (variable, parents, spouses) in enumerate(zip(*district, strict=True)):
        arrows[list(parents), number] = whole.arrows[list(parents), variable]
        beside = [inside.index(spouse) for spouse in spouses]
        errors[beside, number] = whole.errors[list(spouses), variable]
    try:
        np.linalg.cholesky(errors)
    except np.linalg.LinAlgError:
        return None
    return LinearADMG(arrows, errors)


def fit_district(
    covariance: Float64[ndarray, "d d"],
    inside: Sequence[int],
    parents: Sequence[Sequence[int]],
    spouses: Sequence[Sequence[int]],
    start: LinearADMG | None = None,
    sweeps: int = MOST_SWEEPS,
    tolerance: float = TOLERANCE,
) -> LinearADMG:
    """The fit of one district: `arrows` [d, k] are the coefficients into its k variables, `errors` is [k, k].

    In turn each variable is regressed on its parents and on pseudo-variables, the errors of the others times the
    inverse of their covariance; the likelihood never falls. A variable without double arrows takes one regression.
    """
    inside, k = list(inside), len(inside)
    if start is None:
        start = LinearADMG(np.zeros((len(covariance), k)), np.diag(np.diagonal(covariance)[inside]))
    arrows, errors = start.arrows.copy(), start.errors.copy()
    place = {variable: number for number, variable in enumerate(inside)}
    beside = [[place[spouse] for spouse in some] for some in spouses]
    for _ in range(sweeps if k > 1 else 1):
        before = arrows.copy(), errors.copy()
        for number in range(k):
            _refit(covariance, arrows, errors, inside, number, list(parents[number]), beside[number])
        if max(np.abs(arrows - before[0]).max(), np.abs(errors - before[1]).max()) < tolerance:
            break
    return LinearADMG(arrows, errors)


def _refit(
    covariance: ndarray,
    arrows: ndarray,
    errors: ndarray,
    inside: list[int],
    number: int,
    parents: list[int],
    beside: list[int],
) -> None:
    """Regresses one variable on its parents and pseudo-variables, and writes into `arrows` and `errors` in place."""
    variable, p = inside[number], len(parents)
    others = [place for place in range(len(inside)) if place != number]
    inverse = np.linalg.inv(errors[others][:, others])
    weights = inverse[:, [place - (place > number) for place in beside]]
    pseudo = -arrows[:, others] @ weights
    pseudo[[inside[place] for place in others]] += weights
    along = covariance @ pseudo
    gram = np.empty((p + len(beside), p + len(beside)))
    gram[:p, :p], gram[:p, p:], gram[p:, p:] = covariance[parents][:, parents], along[parents], pseudo.T @ along
    gram[p:, :p] = gram[:p, p:].T
    moments = np.concatenate([covariance[parents, variable], along[variable]])
    found = np.linalg.solve(gram, moments)
    arrows[parents, number] = found[:p]
    errors[beside, number] = errors[number, beside] = found[p:]
    beyond = errors[others, number]
    errors[number, number] = covariance[variable, variable] - found @ moments + beyond @ inverse @ beyond
