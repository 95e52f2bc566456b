"""A profile in which every layer of given steps costs what a function says, with processes through these points."""

from collections.abc import Callable, Iterable

import numpy as np

from energy_profiles import DEVICE, REGIME
from intaglio.energy.layers.layer import LayerFamily, SizedLayer, Step
from intaglio.energy.processes.family_process import FamilyFit
from intaglio.energy.processes.matern_process import Hyper
from intaglio.energy.profile.energy_profile import CalibrationNetwork, EnergyProfile, ProfiledFamily

MOST = 12
"""Points of a family, at most."""


def planted_profile(
    steps: Iterable[Step], cost: Callable[[SizedLayer], float], *, unit="CPU-s", factor=1.0, per_pass=0.0, networks=3
) -> EnergyProfile:
    """The profile of these steps' families; the first so many are whole networks.

    Those cost `factor` times the sum of their layers, and `per_pass` for each pass of a layer.
    """
    steps = list(steps)
    by_family: dict[LayerFamily, set[tuple[int, ...]]] = {}
    for layer in (layer for step in steps for layer in step.layers):
        by_family.setdefault(layer.family, set()).add(layer.sizes)
    families = tuple(_family(family, sorted(sizes), cost) for family, sizes in sorted(by_family.items()))
    totals = [
        factor * sum(calls * cost(layer) for layer, calls in step.layers.items()) + per_pass * step.passes
        for step in steps[:networks]
    ]
    whole = [
        CalibrationNetwork(f"net {place}", step, total, (1e-3 * total) ** 2, total)
        for place, (step, total) in enumerate(zip(steps, totals, strict=False))
    ]
    meter = {"name": "planted", "relative_sd": 0.0}
    return EnergyProfile(
        unit, "measured-counter", families, tuple(whole), DEVICE, REGIME, meter, "2026-01-31T12:00:00Z"
    )


def _family(family, sizes, cost):
    kept = np.unique(np.linspace(0, len(sizes) - 1, min(MOST, len(sizes))).round().astype(int))
    points = np.array([sizes[place] for place in kept], np.int64).reshape(len(kept), len(family.free))
    every = np.array(sizes, np.int64).reshape(len(sizes), len(family.free))
    amounts = np.array([cost(SizedLayer(family, tuple(map(int, row)))) for row in points])
    free = sum(low < high for low, high in zip(every.min(0), every.max(0), strict=True))
    fit = FamilyFit((1,) * len(family.free), Hyper((1.0,) * free))
    low, high = (tuple(map(int, bound)) for bound in (every.min(0), every.max(0)))
    spread = (1e-3 * amounts) ** 2
    return ProfiledFamily(family, low, high, points, amounts, spread, amounts, spread, fit=fit, time_fit=fit)
