"""The energy of a run, by the meters that its machine has, summed over resumptions; the reason where there is none."""

from collections.abc import Mapping
from typing import Any

from intaglio.errors import IntaglioError
from intaglio.meters.domain import Unit
from intaglio.meters.machine_meters import FoundMeters, meters_for
from intaglio.meters.monitor import EnergyMonitor
from intaglio.meters.process_time import ProcessTime
from intaglio.meters.spent import Spent

WINDOW = "run"
NO_METER = "no meter is attached"


class RunEnergy:
    """Fields of `run.json` on energy, from the opening of a run until now, added to those of its earlier parts.

    `joules`: sum of disjoint measured domains, null unless every part of the work was measured; `joules_of`: each
    domain; `joules_by`: how each came about; `joules_why`: what is not measured, and the remedy; `cpu_seconds`: the
    processor's time of this process and its ended children, null where an earlier part did not keep it.
    """

    def __init__(self, device: str, before: Mapping[str, Any], found: FoundMeters | None = None):
        """`before`: the fields as the run's earlier parts left them; `found`: the meters, by default this machine's."""
        self._resumed = bool(_number(before.get("seconds")))
        self._joules_before = _number(before.get("joules"))
        self._why_before = str(before.get("joules_why") or NO_METER)
        self._cpu_before = _number(before.get("cpu_seconds"))
        earlier = before.get("joules_of")
        self._earlier = dict(earlier) if isinstance(earlier, Mapping) else {}
        self._found = (meters_for(device) if found is None else found).measuring
        self._fault = ""
        self._processor = EnergyMonitor([ProcessTime()])
        self._processor.begin_window(WINDOW)
        self._monitor = EnergyMonitor(self._found.meters)
        try:
            self._monitor.begin_window(WINDOW)
        except IntaglioError as error:
            self._fault = str(error)

    def fields(self) -> dict[str, Any]:
        """The fields now."""
        spent = self._spent()
        parts = {} if spent is None else spent.disjoint()
        joules, why = self._joules(spent)
        return {
            "joules": None if joules is None else round(joules, 3),
            "joules_of": {
                name: round(amount + (_number(self._earlier.get(name)) or 0), 3) for name, amount in parts.items()
            },
            "joules_by": {name: str(spent.domains[name].provenance) for name in parts} if spent else {},
            "joules_why": why or None,
            "cpu_seconds": self._cpu_seconds(),
        }

    def close(self) -> None:
        """Closes the meters."""
        self._monitor.close()
        self._processor.close()

    def _spent(self) -> Spent | None:
        if self._fault or not self._found.meters:
            return None
        try:
            return self._monitor.so_far(WINDOW)
        except IntaglioError as error:
            self._fault = str(error)
            return None

    def _joules(self, spent: Spent | None) -> tuple[float | None, str]:
        if self._resumed and self._joules_before is None:
            return None, self._why_before
        if spent is None:
            return None, f"not measured: {self._fault or self._found.why_not or NO_METER}"
        try:
            total = spent.total()
        except IntaglioError as error:
            return None, f"no sum: {error}"
        return total + (self._joules_before or 0), self._found.why_not

    def _cpu_seconds(self) -> float | None:
        if self._resumed and self._cpu_before is None:
            return None
        return round(self._processor.so_far(WINDOW).total(Unit.CPU_SECONDS) + (self._cpu_before or 0), 3)


def _number(value: Any) -> float | None:
    """A field of a `run.json` that may come from a stranger, where it is a finite number of at least 0."""
    return float(value) if isinstance(value, int | float) and 0 <= value < float("inf") else None
