"""`Fallback`: the cost of layers that a profile does not cover, by its cost of an operation and of a byte."""

from dataclasses import dataclass

import numpy as np

from intaglio.energy.layers.layer import SizedLayer
from intaglio.energy.profile.energy_profile import EnergyProfile, layers_of

RELATIVE_SD = 0.5
"""Relative standard deviation of such a cost, the same error for all of them."""
NUMBER_BYTES = 4
NO_LAYERS = ("step", "optimiser")
"""Kinds whose cost says nothing of a layer's operations and bytes."""


@dataclass(frozen=True)
class Fallback:
    """The larger of what a layer's operations and its bytes cost at the device's median rates. Modelled."""

    per_flop: float
    per_byte: float
    seconds_per_flop: float = 0.0
    seconds_per_byte: float = 0.0
    relative_sd: float = RELATIVE_SD

    @classmethod
    def of(cls, profile: EnergyProfile) -> "Fallback":
        """Rates of a profile: of products by their operations, of all else by bytes; medians over measured layers."""
        rates: dict[str, list[tuple[float, float]]] = {"flop": [], "byte": []}
        for found in profile.families:
            if found.family.kind in NO_LAYERS:
                continue
            matrix = found.family.of_kind.matrix
            for layer, amount, seconds in zip(layers_of(found), found.amounts, found.seconds, strict=True):
                if amount > 0 and seconds > 0:
                    rates["flop" if matrix else "byte"].append((amount / layer.work, seconds / layer.work))
        (flop, flop_s), (byte, byte_s) = (_medians(rates[name]) for name in ("flop", "byte"))
        return cls(flop, byte, flop_s, byte_s)

    def __call__(self, layer: SizedLayer) -> float:
        return max(layer.flops * self.per_flop, layer.bytes * self.per_byte)

    def seconds(self, layer: SizedLayer) -> float:
        return max(layer.flops * self.seconds_per_flop, layer.bytes * self.seconds_per_byte)

    def of_numbers(self, numbers: float) -> float:
        """The cost of so many numbers read and written."""
        return NUMBER_BYTES * numbers * (self.per_byte or self.per_flop)


def _medians(rates: list[tuple[float, float]]) -> tuple[float, float]:
    if not rates:
        return 0.0, 0.0
    amount, seconds = np.median(np.array(rates), axis=0)
    return float(amount), float(seconds)
