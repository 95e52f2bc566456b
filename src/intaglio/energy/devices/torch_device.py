"""`TorchDevice`: layers run by torch on this machine, measured by a meter in windows of many steps."""

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from intaglio.energy.devices.device import Measurement
from intaglio.energy.devices.layer_probes import Probe, feasible, probe_of
from intaglio.energy.layers.layer import SizedLayer
from intaglio.errors import IntaglioError
from intaglio.meters.domain import Unit
from intaglio.meters.meter import Meter
from intaglio.meters.monitor import EnergyMonitor, synchronise

TICKS = 20.0
"""Ticks of the meter that a window spans."""
LOOK_S = 0.02
"""Time for which a step is timed before the length of its windows is chosen, at least, in s."""


@dataclass
class TorchDevice:
    """Layers with random weights and inputs, run one after the other, forward and then all backward.

    The allocator and the kernels' choices are warm before a window begins; gradients are dropped at each step. Several
    windows of equal length give a mean and its variance; more are taken where they differ by more than 2%.
    """

    meter: Meter
    device: str = "cpu"
    window_s: float = 0.1
    """Least length of a window in s, above 0; 20 ticks of the meter where that is longer."""
    repeats: int = 3
    """Windows of a measurement, 2 or more."""
    most_repeats: int = 7
    unit_of: Unit = Unit.JOULES
    warm_up: int = 2
    """Steps before anything is timed, 1 or more."""
    beside_others: bool = False
    """Take all of a device that others compute on too for the measured work's; otherwise that is refused."""
    _monitor: EnergyMonitor | None = field(default=None, repr=False)

    @property
    def unit(self) -> str:
        return str(self.unit_of)

    def feasible(self, layer: SizedLayer) -> SizedLayer:
        """The layer of the nearest sizes that can be run."""
        return feasible(layer)

    def measure(self, layers: Sequence[SizedLayer]) -> Measurement:
        """Cost of a step in which these layers run. Raises `IntaglioError` where one cannot, as for want of memory."""
        device = torch.device(self.device)
        try:
            probes = [probe_of(layer, device) for layer in layers]
            gradients = [_gradient(probe, layer) for probe, layer in zip(probes, layers, strict=True)]
            return self.measure_step(lambda: _step(probes, gradients))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if "memory" not in str(error).lower():
                raise IntaglioError(f"layers cannot be run on {self.device}: {error}") from error
            raise IntaglioError(
                f"{self.device} has too little memory for {layers[0].family} at {layers[0].sizes}"
            ) from None
        finally:
            gc.collect()

    def measure_step(self, step: Callable[[], object]) -> Measurement:
        """Cost of any step, in windows of many. Raises `IntaglioError` where the meter fails."""
        for _ in range(self.warm_up):
            step()
        steps = max(1, math.ceil(self._window_s() / self._seconds_of(step)))
        found = [self._window(step, steps) for _ in range(self.repeats)]
        while _spread([amount for amount, _ in found]) > 0.02 and len(found) < self.most_repeats:
            found.append(self._window(step, steps))
        amounts, seconds = ([row[k] for row in found] for k in (0, 1))
        return Measurement(*_mean(amounts), *_mean(seconds))

    def measurement_seconds(self, step_s: float) -> float:
        """Seconds of measuring a step that takes so many, where its windows agree."""
        before = self.warm_up * step_s + 2 * max(LOOK_S, step_s)
        return before + self.repeats * (self._window_s() + step_s)

    def _window(self, step: Callable[[], object], steps: int) -> tuple[float, float]:
        monitor = self._monitor = self._monitor or EnergyMonitor([self.meter])
        with monitor.window("measurement") as window:
            for _ in range(steps):
                step()
        if window.spent is None:
            raise IntaglioError(f"{self.meter.name} gave nothing")
        spent = window.spent
        if self.beside_others:
            spent = spent.attributed({name: 1.0 for name, domain in spent.domains.items() if domain.shared})
        return spent.total(self.unit_of) / steps, spent.seconds / steps

    def _window_s(self) -> float:
        return max(self.window_s, TICKS * (self.meter.tick_s or 0.0))

    def _seconds_of(self, step: Callable[[], object]) -> float:
        """Time of a step, over at least `LOOK_S`."""
        steps, spent = 1, 0.0
        while True:
            synchronise(self.device)
            began = time.perf_counter()
            for _ in range(steps):
                step()
            synchronise(self.device)
            spent = time.perf_counter() - began
            if spent >= LOOK_S:
                return spent / steps
            steps = max(2 * steps, math.ceil(steps * LOOK_S / max(spent, 1e-6)))


def _step(probes: Sequence[Probe], gradients: Sequence[torch.Tensor | None]) -> None:
    """All layers forward, then those that train backward."""
    outputs = []
    for probe, gradient in zip(probes, gradients, strict=True):
        with torch.set_grad_enabled(gradient is not None):
            outputs.append(probe.call())
    trained = [(output, gradient) for output, gradient in zip(outputs, gradients, strict=True) if gradient is not None]
    if trained:  # in one pass, as in a network
        torch.autograd.backward([output for output, _ in trained], [gradient for _, gradient in trained])
    for probe in probes:
        for leaf in probe.leaves:
            leaf.grad = None


def _gradient(probe: Probe, layer: SizedLayer) -> torch.Tensor | None:
    """A gradient of the output; None for a layer without a backward pass."""
    if not layer.family.train or not probe.leaves:
        return None
    with torch.no_grad():
        return torch.randn_like(probe.call())


def _spread(values: Sequence[float]) -> float:
    """Standard deviation over mean."""
    mean, variance = _mean(values)
    return math.sqrt(variance * len(values)) / mean if mean > 0 else 0.0


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and the variance of the mean."""
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)
