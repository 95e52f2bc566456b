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
class Subtraction:
    """Cost of a network of one layer, two or three, less those of its known neighbours, as in THOR.

    An output layer is a network of its own, which holds the cost of a step; an input layer is what a network of two
    costs beyond its output; a hidden layer what one of three costs beyond both.
    """

    stem: tuple[LayerFamily, int] | None = None
    """LayerFamily of the input layer and its channels in; None for input and output layers."""
    head: tuple[LayerFamily, int] | None = None
    """LayerFamily of the output layer and its channels out; None for output layers."""
    known_stem: tuple[FamilyProcess, FamilyProcess] | None = None
    """Costs and seconds of input layers."""
    known_head: tuple[FamilyProcess, FamilyProcess] | None = None

    def __call__(self, device: Device, layer: SizedLayer) -> Measurement:
        c_in, c_out = layer.sizes[:2]
        stem = [] if self.stem is None else [SizedLayer(self.stem[0], (self.stem[1], c_in))]
        head = [] if self.head is None else [SizedLayer(self.head[0], (c_out, self.head[1]))]
        found = device.measure([*stem, layer, *head])
        for known, of in ((self.known_stem, stem), (self.known_head, head)):
            for one in of:
                if known is not None:
                    found = difference(found, _predicted(known, one))
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


def _predicted(known: tuple[FamilyProcess, FamilyProcess], layer: SizedLayer) -> Measurement:
    at = np.array([layer.sizes], np.int64)
    (amount,), ((variance,),) = known[0].joint(at)
    (seconds,), ((spread,),) = known[1].joint(at)
    return Measurement(float(amount), float(variance), float(seconds), float(spread))
