"""Measuring a family where it is least known: the active choice of sizes, with its rules to stop."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from intaglio.energy.devices.device import Device, Measurement
from intaglio.energy.layers.layer import LayerFamily, SizedLayer
from intaglio.energy.processes.family_process import FamilyPoints, FamilyProcess, family_process
from intaglio.energy.processes.size_scale import Sizes
from intaglio.energy.profile.edge_probes import corners, edge_pairs
from intaglio.energy.profile.energy_profile import ProfiledFamily
from intaglio.energy.profile.isolation import Isolation
from intaglio.errors import IntaglioError
from intaglio.randomness import seed_32bit

CANDIDATES = 256
TILES_EVERY, STARTS = 4, 2
"""Points after which tiles are chosen again, and starting points of each fit, while a family is measured."""
MOST_POINTS = (1, 12, 24, 40, 56)
"""Most points of a family, by its number of sizes that differ."""
PATIENCE, LEAST_GAIN = 5, 0.005
"""Points over which the error of left-out points must fall by so much, or the family is done."""


@dataclass(frozen=True)
class ActiveRules:
    """Rules by which a family is known well enough, and by which the next point is chosen."""

    relative_sd: float = 0.05
    """Posterior standard deviation over the cost, at most, at which measuring stops."""
    left_out_error: float = 0.05
    """Mean relative error of left-out points, at most, at which it stops; both must hold."""
    seconds: float = float("inf")
    """Time for the family, in s."""
    points: int | None = None
    """Most points; None takes 12, 24, 40 and 56 for one to four sizes."""
    edges: int = 2
    """Edges of tiles that are straddled for each tiled size."""
    paper: bool = False
    """Plain costs by plain sizes, without tiles, as in THOR."""
    seed: int = 0
    """Seed of the candidates."""


Target = Sequence[tuple[SizedLayer, float]]
"""Layers of a model to be estimated with their calls, for which the points are chosen; empty: the widest posterior."""


def profile_family(
    device: Device,
    isolate: Isolation,
    family: LayerFamily,
    low: Sequence[int],
    high: Sequence[int],
    rules: ActiveRules = ActiveRules(),
    target: Target = (),
    told: Callable[[int], object] = lambda points: None,
) -> ProfiledFamily:
    """Measures a family's corners, centre and edges, then where it is least known, until a rule says stop.

    `told` is called with the number of points after each. A layer that the device cannot run, such as for want of
    memory, is left out. Raises `IntaglioError` where none can be run.
    """
    began, low, high = time.monotonic(), tuple(map(int, low)), tuple(map(int, high))
    differing = sum(a < b for a, b in zip(low, high, strict=True))
    most = most_points(rules, differing)
    first = [*corners(low, high), *edge_pairs(family, low, high, rules.edges)]
    queue = list(dict.fromkeys(first))[:most] if differing else [low]
    found: dict[tuple[int, ...], Measurement] = {}
    failed, tried = dict[tuple[int, ...], str](), set[tuple[int, ...]]()
    errors, stopped = list[float](), "all points measured"
    tiles, tiles_again = None, 0
    while queue:
        for asked in queue:
            sizes = device.feasible(SizedLayer(family, asked)).sizes
            tried.add(asked)
            if sizes in found or sizes in failed:
                continue
            try:
                found[sizes] = isolate(device, SizedLayer(family, sizes))
            except IntaglioError as error:
                failed[sizes] = str(error)
            told(len(found))
        queue = []
        if not found:
            raise IntaglioError(f"no layer of {family} could be measured: {next(iter(failed.values()))}")
        if not differing:
            break
        if len(tried) >= most:
            stopped = "as many points as the rules allow"
            break
        if time.monotonic() - began > rules.seconds:
            stopped = "time for the family was up"
            break
        points = _points(family, found)
        if not len(points.resolved.costs):
            stopped = "below the meter's resolution"
            break
        if len(found) >= tiles_again:
            tiles, tiles_again = None, len(found) + TILES_EVERY
        process = family_process(points, low, high, paper=rules.paper, tiles=tiles, starts=STARTS)
        tiles = process.scale.tiles
        errors.append(float(process.left_out_errors.mean()))
        candidates = _candidates(family, low, high, rules, taken={*found, *tried})
        if not len(candidates):
            break
        if process.relative_sd(candidates).max() <= rules.relative_sd and errors[-1] <= rules.left_out_error:
            stopped = "known well enough"
            break
        if len(errors) > PATIENCE and errors[-1 - PATIENCE] - errors[-1] < LEAST_GAIN and errors[-1] < 0.5:
            stopped = "further points help little"
            break
        queue = [tuple(map(int, candidates[_best(process, candidates, target)]))]
    return _profiled(family, low, high, found, stopped)


def most_points(rules: ActiveRules, differing: int) -> int:
    """Most points of a family, of which so many sizes differ."""
    return rules.points or MOST_POINTS[min(differing, len(MOST_POINTS) - 1)]


def measured_again(device: Device, isolate: Isolation, known: ProfiledFamily) -> ProfiledFamily:
    """The same layers of a family, measured anew; a `StoredDevice` gives what it holds, in its latest terms."""
    layers = [SizedLayer(known.family, tuple(map(int, sizes))) for sizes in known.sizes]
    found = {layer.sizes: isolate(device, layer) for layer in layers}
    return _profiled(known.family, known.low, known.high, found, known.stopped)


def pooled(families: Sequence[ProfiledFamily]) -> tuple[ProfiledFamily, ...]:
    """The families with the variance of each point at least that of the median relative spread of all."""
    relative = [
        v / a**2 for one in families for a, v in zip(one.amounts, one.variances, strict=True) if a > 0 and v > 0
    ]
    if not relative:
        return tuple(families)
    typical = float(np.median(relative))
    return tuple(replace(one, variances=np.maximum(one.variances, typical * one.amounts**2)) for one in families)


def _best(process: FamilyProcess, candidates: Sizes, target: Target) -> int:
    """The candidate of the widest posterior, or of the largest expected fall of the variance of a target's total."""
    if not target:
        return int(process.relative_sd(candidates).argmax())
    sizes = np.array([layer.sizes for layer, _ in target])
    cost, covariance = process.joint(np.concatenate([sizes, candidates]))
    calls = np.array([count for _, count in target])
    shared = calls @ covariance[: len(sizes), len(sizes) :]
    own = np.diagonal(covariance)[len(sizes) :]
    return int((shared**2 / (own + (0.01 * cost[len(sizes) :]) ** 2)).argmax())


def _candidates(
    family: LayerFamily, low: tuple[int, ...], high: tuple[int, ...], rules: ActiveRules, taken: set[tuple[int, ...]]
) -> Sizes:
    """Sizes drawn evenly by logarithm within the bounds, and the edges of tiles; without those that were measured."""
    generator = np.random.default_rng(seed_32bit(rules.seed, "candidates", str(family), len(taken)))
    drawn = np.exp(generator.uniform(np.log(low), np.log(np.array(high) + 1), (CANDIDATES, len(low))))
    sizes = np.clip(drawn.astype(np.int64), low, high)
    everything = dict.fromkeys([*map(tuple, sizes.tolist()), *edge_pairs(family, low, high, 4)])
    return np.array([one for one in everything if one not in taken], np.int64).reshape(-1, len(low))


def _points(family: LayerFamily, found: dict[tuple[int, ...], Measurement]) -> FamilyPoints:
    values = list(found.values())
    return FamilyPoints(
        family,
        np.array(list(found), np.int64).reshape(len(found), -1),
        np.array([one.amount for one in values]),
        np.array([one.variance for one in values]),
    )


def _profiled(
    family: LayerFamily,
    low: tuple[int, ...],
    high: tuple[int, ...],
    found: dict[tuple[int, ...], Measurement],
    stopped: str,
) -> ProfiledFamily:
    points, values = _points(family, found), list(found.values())
    seconds = np.array([one.seconds for one in values])
    spread = np.array([one.seconds_variance for one in values])
    return ProfiledFamily(
        family, low, high, points.sizes, points.costs, points.variances, seconds, spread, stopped=stopped
    )
