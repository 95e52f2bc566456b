"""A survey of meters: whether each can be read here, its domains, and its tick, measured where it is a counter's."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from intaglio.meters.domain import Domain, Provenance, Unit
from intaglio.meters.machine_meters import every_meter
from intaglio.meters.meter import Availability, Meter, MeterFailed
from intaglio.meters.tick import tick_of

ON_REQUEST = {
    "stated-watts": "modelled joules, by intaglio energy measure --watts-per-cpu-second",
    "csv-trace": "joules of the wall, by intaglio energy measure --trace",
}
"""Meters that want something of the user, and how they are had."""


@dataclass(frozen=True)
class MeterFacts:
    """One meter as it is found on this machine."""

    name: str
    state: str
    """`ok`, `missing-library`, `no-permission`, `unsupported`; `on-request` for one that wants an input."""
    why: str = ""
    """Reason and remedy where it cannot be read or its tick not measured."""
    domains: Mapping[str, Domain] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    """Domains in which others are at work now."""
    tick_s: float | None = None
    """Time between two changes of its figures, in s; None where they change with every reading or it is not known."""
    tick_measured: bool = False
    """Whether the tick was measured here; else it is the meter's own word."""

    def to_json(self) -> dict[str, Any]:
        """The facts as plain values."""
        return {
            "name": self.name,
            "state": self.state,
            "why": self.why or None,
            "tick_s": self.tick_s,
            "tick_measured": self.tick_measured,
            "domains": {
                name: {
                    "scope": str(domain.scope),
                    "provenance": str(domain.provenance),
                    "unit": str(domain.unit),
                    "inside": sorted(domain.inside),
                    "shared": domain.shared or name in self.shared,
                }
                for name, domain in self.domains.items()
            },
        }


def survey(device: str, ticks: bool = True) -> Iterator[MeterFacts]:
    """Facts of every meter for work on a torch device; `ticks` measures those of counters, 2 s each."""
    for meter, found in every_meter(device):
        yield facts_of(meter, found, tick_of if ticks else None)
    for name, how in ON_REQUEST.items():
        yield MeterFacts(name, "on-request", how)


def facts_of(meter: Meter, found: Availability, tick_measure: Callable[[Meter], float] | None) -> MeterFacts:
    """Facts of one meter, which is closed afterwards; `tick_measure` gives the tick of a counter of joules."""
    if not found:
        return MeterFacts(meter.name, found.state, found.why)
    try:
        domains, shared = meter.domains(), meter.read().shared
    except MeterFailed as error:
        meter.close()
        return MeterFacts(meter.name, "unsupported", str(error))
    tick_s, measured, why = meter.tick_s, False, ""
    if tick_measure is not None and any(map(_counts_joules, domains.values())):
        try:
            tick_s, measured = tick_measure(meter), True
        except MeterFailed as error:
            tick_s, why = None, str(error)
    meter.close()
    return MeterFacts(meter.name, found.state, why, domains, shared, tick_s, measured)


def _counts_joules(domain: Domain) -> bool:
    return domain.provenance is Provenance.COUNTER and domain.unit is Unit.JOULES
