"""The cost of one layer from costs of steps that hold it: by depth slope, by subtraction, or alone."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from intaglio.energy.devices.device import Device, Measurement
from intaglio.energy.layers.layer import LayerFamily, SizedLayer
from intaglio.energy.processes.family_process import FamilyProcess

LEAST_KINK = 0.05
"""Kink over the cost of a layer up to which costs count as additive."""


@runtime_checkable
class Isolation(Protocol):
    """A way to find what one layer costs."""

    def __call__(self, device: Device, layer: SizedLayer) -> Measurement: ...


@dataclass(frozen=True)
class DepthSlope:
    """Slope of the cost over the number of copies, n = 1 and more: what a layer costs among its kind."""

    copies: tuple[int, ...] = (1, 4)
    """Numbers of copies, at least two, in rising order from 1."""

    def __call__(self, device: Device, layer: SizedLayer) -> Measurement:
        found = [device.measure([layer] * n) for n in self.copies]
        amount, variance = slope(self.copies, [one.amount for one in found], [one.variance for one in found])
        seconds, spread = slope(self.copies, [one.seconds for one in found], [one.seconds_variance for one in found])
        return Measurement(amount, variance, seconds, spread)


@dataclass(frozen=True)
class Alone:
    """Cost of a step with the layer less that of an empty step: cheapest, and least like a layer among others."""

    def __call__(self, device: Device, layer: SizedLayer) -> Measurement:
        return difference(device.measure([layer]), device.measure([]))


@dataclass(frozen=True, eq=False)
class Neighbour:
    """A family of known costs whose layers may stand before or after the one that is measured."""

    family: LayerFamily
    low: tuple[int, ...]
    """Smallest measured sizes."""
    high: tuple[int, ...]
    theirs: str
    """Its size that meets the measured layer: `c_out` of a layer before, `c_in` of one after."""
    ours: str
    """The size of the measured layer that it meets."""
    costs: FamilyProcess
    times: FamilyProcess

    def beside(self, layer: SizedLayer) -> SizedLayer:
        """The layer that meets this one; positions are those of the layer as far as measured, other sizes least."""
        sizes = dict(zip(self.family.free, self.low, strict=True))
        most = dict(zip(self.family.free, self.high, strict=True))
        if "positions" in sizes:
            sizes["positions"] = min(max(layer.all_sizes["positions"], sizes["positions"]), most["positions"])
        sizes[self.theirs] = layer.all_sizes[self.ours]
        return SizedLayer(self.family, tuple(sizes[name] for name in self.family.free))

    def cost(self, layer: SizedLayer) -> Measurement:
        """Cost of one of its layers, with the posterior's variance."""
        at = np.array([layer.sizes], np.int64)
        (amount,), ((variance,),) = self.costs.joint(at)
        (seconds,), ((spread,),) = self.times.joint(at)
        return Measurement(float(amount), float(variance), float(seconds), float(spread))


@dataclass(frozen=True, eq=False)
class Subtraction:
    """Cost of a network of two layers or three less those of its known neighbours and of an empty step, as in THOR.

    An input layer is what a network of it and an output layer costs beyond the output; a hidden layer what one of three
    costs beyond both (arXiv 2501.16397). There the output layer holds the cost of a step; here that is measured by
    itself and taken off, for a family may be called more than once in a step.
    """

    stem: Neighbour | None = None
    """Input layers; None for an input layer itself."""
    head: Neighbour | None = None
    """Output layers."""

    def __call__(self, device: Device, layer: SizedLayer) -> Measurement:
        stem = None if self.stem is None else device.feasible(self.stem.beside(layer))
        head = None if self.head is None else device.feasible(self.head.beside(layer))
        step = device.measure([one for one in (stem, layer, head) if one is not None])
        found = difference(step, device.measure([]))
        for known, one in ((self.stem, stem), (self.head, head)):
            if known is not None and one is not None:
                found = difference(found, known.cost(one))
        return found


@dataclass(frozen=True)
class Kink:
    """Test of additivity: what the first copy of a layer costs beyond each further one."""

    share: float
    """Kink over the cost of a layer."""
    additive: bool
    """Whether it is within 5%, or within twice its standard error."""


def kink_of(device: Device, layer: SizedLayer) -> Kink:
    """The kink of a layer: g = (E1 - E0) - (E4 - E1) / 3, with variance 16/9 V1 + V0 + V4/9."""
    none, one, four = (device.measure([layer] * n) for n in (0, 1, 4))
    cost = (four.amount - one.amount) / 3
    kink = (one.amount - none.amount) - cost
    error = np.sqrt(16 / 9 * one.variance + none.variance + four.variance / 9)
    return Kink(kink / cost if cost else float("nan"), bool(abs(kink) <= max(LEAST_KINK * cost, 2 * error)))


def slope(numbers: tuple[int, ...], values: list[float], variances: list[float]) -> tuple[float, float]:
    """Weighted least-squares slope of values over numbers, and its variance."""
    x, y = np.array(numbers, np.float64), np.array(values)
    floor = max(1e-30, float(np.mean(variances)) * 1e-6)
    weights = 1 / np.maximum(np.array(variances), floor)
    centre = (weights @ x) / weights.sum()
    total = weights @ (x - centre) ** 2
    return float((weights * (x - centre)) @ y / total), float(1 / total) if max(variances) > 0 else 0.0


def difference(one: Measurement, other: Measurement) -> Measurement:
    """One measurement less another, independent one."""
    return Measurement(
        one.amount - other.amount,
        one.variance + other.variance,
        one.seconds - other.seconds,
        one.seconds_variance + other.seconds_variance,
    )
