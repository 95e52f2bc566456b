"""`StoredDevice`: a device whose measurements are kept in a run, and told in terms of its reference at the start."""

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
MOST_DRIFT, NOISE_SD = 0.05, 3.0
"""Change of the reference from one look to the next that is too much, where it is also so many times its noise."""
TRIES, MOST_AGAIN = 2, 60
"""Times that the same measurements are made again, and measurements that a profile makes again in all."""

Ratio = tuple[float, float]
"""Cost and time of a reference window over those of the first."""


class StoredDevice:
    """A device whose measurements are kept in a run, and told in terms of its reference at the start.

    The reference is measured at the start, after every `EVERY` measurements and whenever `settle` is called. What was
    measured between two looks is divided by the mean of their references, over that of the start: a machine that runs a
    tenth slower for some minutes costs a tenth more for every layer, which is no property of the layers. Where the two
    looks differ by more than 5%, and by more than their noise, what lies between is made again, at most `TRIES` times;
    what is kept although they still differ is counted as `unsettled`. All is stored, so that a profile that was
    interrupted looks at the same moments.
    """

    def __init__(self, device: Device, run: Run):
        self._device, self._run, self._known = device, run, run.recorded("measurements")
        self._met, self._recent = dict[str, Ratio](), list[tuple[str, Callable[[], Measurement]]]()
        self._names, self._looks = dict[str, str](), 0
        self._first = self._last = self._look()
        self.history: list[float] = [1.0] if self._first is not None else []
        """Cost of each reference window over that of the first."""
        self.made_again = self.unsettled = 0
        """Measurements that were made again; those that were kept although the looks about them differ."""

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
        """The measurement of this name in terms of the start, made now unless it is known."""
        self._keep(self._names.setdefault(key, key), measure)
        if key not in self._met:
            self._met[key] = self._ratio(self._last)
            self._recent.append((key, measure))
            if len(self._recent) >= EVERY:
                self.settle()
        return self._told(key)

    def as_measured(self, key: str) -> Measurement:
        """A measurement that is known, as it was read. Raises `KeyError` for another name."""
        return self._read(self._names[key])

    def settle(self) -> None:
        """Looks at the reference; what was measured since the last look is then told in terms of both."""
        recent, self._recent = self._recent, []
        if self._first is None or not recent:
            return
        for attempt in range(TRIES + 1):
            earlier, self._last = self._last, self._look()
            self.history.append(self._ratio(self._last)[0])
            ends = self._ratio(earlier), self._ratio(self._last)
            self._met.update(dict.fromkeys((key for key, _ in recent), _middle(*ends)))
            if not self._restless(earlier, self._last):
                break
            if attempt == TRIES or self.made_again + len(recent) > MOST_AGAIN:
                self.unsettled += len(recent)
                break
            for key, measure in recent:
                self._names[key] = f"{key}, again {attempt + 1}"
                self._keep(self._names[key], measure)
            self.made_again += len(recent)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on the reference; none where the machine stayed as it was."""
        found = []
        if self.history and max(self.history) > (1 + MOST_DRIFT) * min(self.history):
            low, high = (f"{ratio - 1:+.0%}" for ratio in (min(self.history), max(self.history)))
            found.append(
                f"the reference window cost {low} to {high} of its first cost; measurements are divided by its change"
            )
        if self.made_again:
            found.append(f"{self.made_again} measurements were made again: the reference had changed about them")
        if self.unsettled:
            found.append(f"{self.unsettled} measurements are of a time when the reference changed within them")
        return tuple(found)

    def _ratio(self, look: Measurement | None) -> Ratio:
        """The reference at a look over that at the start; 1 for a device that cannot run it."""
        if look is None or not self._first or not self._first.amount or not self._first.seconds:
            return 1.0, 1.0
        return look.amount / self._first.amount, look.seconds / self._first.seconds

    def _restless(self, earlier: Measurement | None, later: Measurement | None) -> bool:
        """Whether the reference clearly costs more or less at one look than at the other."""
        if earlier is None or later is None or not earlier.amount:
            return False
        ratio = later.amount / earlier.amount
        noise = math.sqrt(later.variance + ratio**2 * earlier.variance) / earlier.amount
        return abs(ratio - 1) > max(MOST_DRIFT, NOISE_SD * noise)

    def _look(self) -> Measurement | None:
        """The reference window of this look; None for a device that cannot run it."""
        key = f"reference {self._looks}"
        self._looks += 1
        try:
            self._keep(key, lambda: self._device.measure([REFERENCE]))
        except IntaglioError:
            return None
        return self._read(key)

    def _told(self, key: str) -> Measurement:
        """The measurement in terms of the start."""
        found, (cost, time) = self._read(self._names[key]), self._met[key]
        return Measurement(
            found.amount / cost, found.variance / cost**2, found.seconds / time, found.seconds_variance / time**2
        )

    def _keep(self, name: str, measure: Callable[[], Measurement]) -> None:
        if name not in self._known:
            self._known[name] = asdict(measure())
            self._run.record("measurements", name, self._known[name])

    def _read(self, name: str) -> Measurement:
        return Measurement(**{field: float(value) for field, value in self._known[name].items()})


def _middle(one: Ratio, other: Ratio) -> Ratio:
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2
