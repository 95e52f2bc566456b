"""`FamilyProcess`: the cost of the layers of one family by their sizes, with the joint uncertainty of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.energy.layers.layer import LayerFamily, SizedLayer
from intaglio.energy.processes.matern_process import Hyper, MaternProcess, fitted
from intaglio.energy.processes.size_scale import Sizes, SizeScale
from intaglio.errors import IntaglioError

TILES = (1, 8, 16, 32, 64, 128)
"""Multiples that kernels may round sizes up to."""
MARGIN = 2.0
"""Log marginal likelihood by which a larger tile must beat a smaller one, twice that of one further parameter."""
LEAST_RATIO = 3.0
"""Costs of less than this many standard deviations of theirs are below resolution: their logarithm says nothing."""
LEAST_SPREAD = 1e-3
"""Relative spread around the trend that costs are taken to have at least."""
MODEL_SD = 0.003
"""Relative standard deviation of a cost beside its measured variance."""


@dataclass(frozen=True)
class FamilyFit:
    """Tiles and hyper-parameters of a fit, by which it is not sought again."""

    tiles: tuple[int, ...]
    hyper: Hyper


@dataclass(frozen=True, eq=False)
class FamilyPoints:
    """Measured layers of one family."""

    family: LayerFamily
    sizes: Sizes
    costs: Float[ndarray, "n"]
    variances: Float[ndarray, "n"]

    @property
    def resolved(self) -> "FamilyPoints":
        """Those whose cost is above what the measurement resolves."""
        kept = self.costs > LEAST_RATIO * np.sqrt(self.variances)
        return FamilyPoints(self.family, self.sizes[kept], self.costs[kept], self.variances[kept])


@dataclass(frozen=True)
class Trend:
    """Mean of the costs: of their logarithms a constant and a share of the logarithm of the work, else a constant."""

    constant: float
    slope: float = 0.0
    """Share of the logarithm of the work at tiled sizes, in [0, 1]."""
    spread: float = 1.0
    """Standard deviation of what is left, by which it is scaled."""


@dataclass(frozen=True, eq=False)
class FamilyProcess:
    """Posterior of the costs of a family; logarithms of costs by logarithms of sizes, or as the paper has it, plain."""

    family: LayerFamily
    scale: SizeScale
    process: MaternProcess
    trend: Trend
    logarithmic: bool = True

    def joint(self, sizes: Sizes) -> tuple[Float[ndarray, "m"], Float[ndarray, "m m"]]:
        """Means and covariance of the costs, of sizes that are first brought within the bounds."""
        clamped = self.scale.clamped(sizes)
        u = self.scale(clamped)
        mean = self._trend(clamped) + self.trend.spread * self.process.mean(u)
        covariance = self.trend.spread**2 * self.process.covariance(u)
        if not self.logarithmic:
            return mean, covariance
        half = np.diagonal(covariance) / 2
        cost = np.exp(mean + half)
        return cost, np.outer(cost, cost) * np.expm1(covariance)

    @property
    def fit(self) -> FamilyFit:
        return FamilyFit(self.scale.tiles, self.process.hyper)

    @property
    def log_likelihood(self) -> float:
        """Log marginal likelihood of the costs' logarithms, or of the costs, which tiles are compared by."""
        return self.process.log_likelihood() - len(self.process.values) * float(np.log(self.trend.spread))

    def relative_sd(self, sizes: Sizes) -> Float[ndarray, "m"]:
        """Standard deviation of the costs over their means."""
        clamped = self.scale.clamped(sizes)
        u = self.scale(clamped)
        sd = self.trend.spread * np.sqrt(self.process.variance(u))
        return sd if self.logarithmic else sd / np.abs(self._trend(clamped) + self.trend.spread * self.process.mean(u))

    @cached_property
    def left_out_errors(self) -> Float[ndarray, "n"]:
        """Absolute relative error of each point's cost, predicted from all others."""
        off = self.trend.spread * (self.process.left_out() - self.process.values)
        if self.logarithmic:
            return np.abs(np.expm1(off))
        return np.abs(off) / np.abs(self.trend.constant + self.trend.spread * self.process.values)

    def _trend(self, sizes: Sizes) -> Float[ndarray, "m"]:
        constant = np.full(len(sizes), self.trend.constant)
        if not self.trend.slope:
            return constant
        return constant + self.trend.slope * log_work(self.family, self.scale.rounded(sizes))


def log_work(family: LayerFamily, sizes: Sizes) -> Float[ndarray, "m"]:
    """Logarithm of the operations of products, or of the bytes of other layers, at these sizes."""
    return np.log([SizedLayer(family, tuple(row)).work for row in sizes.tolist()])


def family_process(
    points: FamilyPoints,
    low: Sequence[int],
    high: Sequence[int],
    *,
    paper: bool = False,
    tiles: tuple[int, ...] | None = None,
    starts: int = 6,
) -> FamilyProcess:
    """The process of a family from its resolved points, with the tiles of the largest likelihood.

    Args:
        points: measured layers.
        low: smallest sizes that the family is profiled for.
        high: largest sizes.
        paper: plain costs by plain sizes and no tiles, as in THOR (arXiv 2501.16397).
        tiles: tiles that are taken as they are; None finds them.
        starts: starting points of the search for hyper-parameters, 1 or more.

    Raises:
        IntaglioError: where no point is above resolution.
    """
    kept = points.resolved
    if not len(kept.costs):
        raise IntaglioError(f"no layer of {points.family} costs more than the meter resolves; measure larger ones")
    bounds = (tuple(map(int, low)), tuple(map(int, high)))
    if paper:
        return _fit(kept, SizeScale(*bounds, (1,) * len(bounds[0]), linear=True), logarithmic=False, starts=starts)
    return _fit(kept, SizeScale(*bounds, tiles or _likeliest_tiles(kept, *bounds)), starts=starts)


def _likeliest_tiles(points: FamilyPoints, low: tuple[int, ...], high: tuple[int, ...]) -> tuple[int, ...]:
    """The tiles of the largest likelihood, sought a size at a time; larger ones must win by `MARGIN`."""
    of_kind = points.family.of_kind
    tiled = [k for k, name in enumerate(points.family.free) if name in of_kind.tiled and low[k] < high[k]]
    ones = (1,) * len(low)
    if not tiled:
        return ones
    known: dict[tuple[int, ...], float] = {}

    def likelihood(tiles: tuple[int, ...]) -> float:
        if tiles not in known:
            known[tiles] = -np.inf
            if _told_apart(points.sizes, tiles):
                known[tiles] = _fit(points, SizeScale(low, high, tiles), starts=1).log_likelihood
        return known[tiles]

    best = ones
    for k in (*tiled, *tiled):  # each twice, since it is chosen given the others
        for tile in TILES:
            tiles = (*best[:k], tile, *best[k + 1 :])
            if likelihood(tiles) > likelihood(best) + MARGIN:
                best = tiles
    return best


def known_process(points: FamilyPoints, low: Sequence[int], high: Sequence[int], fit: FamilyFit) -> FamilyProcess:
    """The process of a family with tiles and hyper-parameters that were found before."""
    kept = points.resolved
    scale = SizeScale(tuple(map(int, low)), tuple(map(int, high)), fit.tiles)
    values, variances, trend = _standardised(kept, scale, logarithmic=True)
    process = MaternProcess(scale(kept.sizes), values, variances, fit.hyper)
    return FamilyProcess(kept.family, scale, process, trend)


def _told_apart(sizes: Sizes, tiles: tuple[int, ...]) -> bool:
    """Whether each tile makes equal two measured sizes that differ: else nothing speaks for it."""
    for column, tile in zip(sizes.T, tiles, strict=True):
        different = np.unique(column)
        if tile > 1 and len(np.unique(np.ceil(different / tile))) == len(different):
            return False
    return True


def _fit(points: FamilyPoints, scale: SizeScale, *, logarithmic: bool = True, starts: int) -> FamilyProcess:
    values, variances, trend = _standardised(points, scale, logarithmic)
    process = fitted(scale(points.sizes), values, variances, starts)
    return FamilyProcess(points.family, scale, process, trend, logarithmic)


def _standardised(
    points: FamilyPoints, scale: SizeScale, logarithmic: bool
) -> tuple[Float[ndarray, "n"], Float[ndarray, "n"], Trend]:
    """Values with mean 0 and variance 1, their variances, and the trend that was taken out of them."""
    values, variances = points.costs, points.variances + (MODEL_SD * points.costs) ** 2
    slope = 0.0
    if logarithmic:
        values, variances = np.log(points.costs), variances / points.costs**2
        work = log_work(points.family, scale.rounded(points.sizes))
        if (spread := float(work.var())) > 0:
            slope = float(np.clip(np.cov(work, values, bias=True)[0, 1] / spread, 0.0, 1.0))
            values = values - slope * work
    constant, left = float(values.mean()), float(values.std())
    scaled = max(left, LEAST_SPREAD if logarithmic else LEAST_SPREAD * abs(constant)) or 1.0
    return (values - constant) / scaled, variances / scaled**2, Trend(constant, slope, scaled)
