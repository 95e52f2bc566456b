"""`SimulatedDevice`: a device of known truth, with tiles, interactions between neighbours, noise and ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from intaglio.energy.devices.device import Measurement
from intaglio.energy.layers.layer import SizedLayer
from intaglio.randomness import seed_32bit

STEP_J = 1e-3
"""Cost of a step beside its layers."""
WINDOW_S, POWER_W = 5.0, 200.0
"""Length of a window, and the power by which the number of steps in it is chosen."""


@dataclass
class SimulatedDevice:
    """Joules of convolutions and linear layers in training, in closed form.

    A product of F operations at tiled sizes, moving b bytes at untiled ones, takes t = max(tc, tm) + 0.15 min(tc, tm) +
    6 µs, with tc = F / 12 Tflop/s slowed for small F and tm = b / 1 TB/s slowed beyond 30 MB. Its energy is 60 W t +
    11 pJ F + 0.09 nJ b. A step adds 1 mJ, and neighbours save a share `interaction` of the cheaper one.
    """

    tiles: tuple[int, int] = (1, 1)
    """Channels in and out are rounded up to multiples of these."""
    interaction: float = 0.0
    """Share in [0, 1) of the cheaper of two neighbours that is saved."""
    noise: float = 0.01
    """Relative standard deviation of a window."""
    tick_s: float = 0.0
    """Time between updates of its counter; 0 for readings at the updates."""
    repeats: int = 3
    """Windows of a measurement, 1 or more."""
    seed: int = 0
    unit: str = "J"

    def __post_init__(self) -> None:
        self._asked = 0

    def feasible(self, layer: SizedLayer) -> SizedLayer:
        """Every layer."""
        return layer

    def cost(self, layer: SizedLayer) -> tuple[float, float]:
        """Joules and seconds of a layer among its kind, without noise."""
        n, kernel = layer.all_sizes, int(dict(layer.family.attributes).get("taps", 1))
        up = [tile * math.ceil(n[name] / tile) for name, tile in zip(("c_in", "c_out"), self.tiles, strict=True)]
        operations = 2 * n["positions"] * kernel * up[0] * up[1] * layer.family.passes
        weights = kernel * n["c_in"] * n["c_out"]
        moved = 4 * (3 * n["positions"] * (n["c_in"] + n["c_out"]) + 5 * weights)
        computing = operations / 1.2e13 * (1 + 1.5 / (1 + operations / 4e8))
        moving = moved / 1e12 * (1 + 0.6 / (1 + math.exp(-(moved - 3e7) / 4e6)))
        seconds = max(computing, moving) + 0.15 * min(computing, moving) + 6e-6
        return 60 * seconds + 1.1e-11 * operations + 0.9e-10 * moved, seconds

    def truth(self, layers: Sequence[SizedLayer]) -> float:
        """Joules of a step, without noise."""
        each = [self.cost(layer)[0] for layer in layers]
        return STEP_J + sum(each) - self.interaction * sum(min(pair) for pair in pairwise(each))

    def measure(self, layers: Sequence[SizedLayer]) -> Measurement:
        """A noisy mean over windows of 5 s; the same calls in the same order give the same numbers."""
        exact, seconds = self.truth(layers), 1e-4 + sum(self.cost(layer)[1] for layer in layers)
        steps = math.ceil(POWER_W * WINDOW_S / exact)
        generator = np.random.default_rng(seed_32bit(self.seed, "simulated device", self._asked))
        self._asked += 1
        read = exact * steps * (1 + self.noise * generator.standard_normal(self.repeats))
        if self.tick_s:
            read += POWER_W * self.tick_s * (generator.random(self.repeats) - generator.random(self.repeats))
        each = read / steps
        known = (self.noise * exact) ** 2 / self.repeats
        spread = float(each.var(ddof=1)) / self.repeats if self.repeats > 1 else known
        return Measurement(float(each.mean()), spread, seconds)
