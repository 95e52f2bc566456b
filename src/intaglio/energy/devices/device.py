"""`Device`: what a profile is made of, a machine that measures layers run one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from intaglio.energy.layers.layer import SizedLayer


@dataclass(frozen=True)
class Measurement:
    """The cost of one step, measured over many."""

    amount: float
    """Mean cost of a step, in the device's unit."""
    variance: float
    """Variance of that mean, over repetitions of the window."""
    seconds: float
    """Mean time of a step."""
    seconds_variance: float = 0.0


@runtime_checkable
class Device(Protocol):
    """A machine that can be asked what layers cost, or a simulation of one."""

    @property
    def unit(self) -> str:
        """Unit of the amounts: `J`, or `CPU-s`."""
        ...

    def feasible(self, layer: SizedLayer) -> SizedLayer:
        """The layer, or the one of the nearest sizes that the device can run, such as of whole pictures."""
        ...

    def measure(self, layers: Sequence[SizedLayer]) -> Measurement:
        """Cost of one step in which these layers run in this order; none: the step alone.

        Raises `IntaglioError` where a layer cannot be run.
        """
        ...
