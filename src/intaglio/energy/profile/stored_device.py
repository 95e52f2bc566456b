"""`StoredDevice`: a device whose measurements are kept in a run, and made again where the machine drifted meanwhile."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict

from intaglio.energy.devices.device import Device, Measurement
from intaglio.energy.layers.layer import LayerFamily, SizedLayer
from intaglio.errors import IntaglioError
from intaglio.runs.run import Run

REFERENCE = SizedLayer(LayerFamily("linear", (("bias", True),)), (256, 256, 256))
"""The reference window: a small forward product, which costs the same as long as the machine stays as it is."""
EVERY = 10
"""Measurements between two of the reference."""
MOST_DRIFT, NOISE_SD = 0.02, 3.0
"""Change of the reference since the start that counts as drift, where it is also so many times its own noise."""
TRIES, MOST_AGAIN = 3, 60
"""Times that the same measurements are made again, and measurements that a profile makes again in all."""


class StoredDevice:
    """A device whose measurements are kept in a run, and not made twice unless the reference drifted.

    The reference is measured at the start, after every `EVERY` measurements and whenever `settle` is called. Where it
    differs from the start by more than 2%, and by more than its noise, those since the last look are made again, at
    most `TRIES` times; what then still differs is kept and counted as `unsettled`. Reference windows are stored too, so
    that a profile that was interrupted looks at the same moments.
    """

    def __init__(self, device: Device, run: Run):
        self._device, self._run, self._known = device, run, run.recorded("measurements")
        self._met, self._recent = set[str](), list[tuple[str, Callable[[], Measurement]]]()
        self._looks = 0
        self._first = self._look()
        self.history: list[float] = [1.0] if self._first is not None else []
        """Cost of each reference window over that of the first."""
        self.made_again = self.unsettled = 0
        """Measurements that were made again; those that were kept although the reference had not come back."""

    @property
    def unit(self) -> str:
        """See `Device`."""
        return self._device.unit

    def feasible(self, layer: SizedLayer) -> SizedLayer:
        """See `Device`."""
        return self._device.feasible(layer)

    def measure(self, layers: Sequence[SizedLayer]) -> Measurement:
        """See `Device`."""
        key = "; ".join(f"{layer.family} {layer.sizes}" for layer in layers) or "empty"
        return self.kept(key, lambda: self._device.measure(layers))

    def kept(self, key: str, measure: Callable[[], Measurement]) -> Measurement:
        """The measurement of this name, made now unless it is known."""
        if key not in self._known:
            self._store(key, measure())
        if key not in self._met:
            self._met.add(key)
            self._recent.append((key, measure))
            if len(self._recent) >= EVERY:
                self.settle()
        return self._read(key)

    def settle(self) -> bool:
        """Looks at the reference, and makes the measurements since the last look again where it drifted.

        Returns:
            Whether measurements changed, so that what was concluded from them is to be concluded again.
        """
        recent, changed = self._recent, False
        self._recent = []
        if self._first is None or not recent:
            return False
        for attempt in range(TRIES + 1):
            if not self._drifted():
                return changed
            if attempt == TRIES or self.made_again + len(recent) > MOST_AGAIN:
                break
            for key, measure in recent:
                self._store(key, measure())
            self.made_again, changed = self.made_again + len(recent), True
        self.unsettled += len(recent)
        return changed

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on drift; none where the machine stayed as it was."""
        found = []
        if self.made_again:
            found.append(f"{self.made_again} measurements were made again: the reference window had changed its cost")
        if self.unsettled:
            off = max(abs(ratio - 1) for ratio in self.history)
            found.append(f"{self.unsettled} measurements are of a time when the reference cost up to {off:.0%} else")
        return tuple(found)

    def _drifted(self) -> bool:
        """Whether the reference costs clearly more or less than at the start."""
        now = self._look()
        if now is None or self._first is None or not self._first.amount:
            return False
        ratio = now.amount / self._first.amount
        self.history.append(ratio)
        noise = math.sqrt(now.variance + ratio**2 * self._first.variance) / self._first.amount
        return abs(ratio - 1) > max(MOST_DRIFT, NOISE_SD * noise)

    def _look(self) -> Measurement | None:
        """The reference window of this look; None for a device that cannot run it."""
        key = f"reference {self._looks}"
        self._looks += 1
        if key not in self._known:
            try:
                self._store(key, self._device.measure([REFERENCE]))
            except IntaglioError:
                return None
        return self._read(key)

    def _store(self, key: str, found: Measurement) -> None:
        self._known[key] = asdict(found)
        self._run.record("measurements", key, self._known[key])

    def _read(self, key: str) -> Measurement:
        return Measurement(**{name: float(value) for name, value in self._known[key].items()})
