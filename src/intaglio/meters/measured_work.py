"""`MeasuredWork`: windows of the same work, as figures with their spread and as a table for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from intaglio.amounts import energy_words
from intaglio.meters.domain import Domain, Unit
from intaglio.meters.spent import NoSum, Spent


@dataclass(frozen=True)
class MeasuredWork:
    """One or more windows of the same work; measured, estimated and modelled joules stand apart."""

    windows: tuple[Spent, ...]
    """At least one, with the same domains."""
    absent: str = ""
    """What is not metered, and why."""

    def figures(self) -> dict[str, Any]:
        """Means over the windows; `joules` is null where nothing was measured or the sum means nothing.

        `joules_sd` is the standard deviation over windows, null for one; `joules_vendor_estimate` and `joules_modelled`
        are what their names say, null where there is none.
        """
        joules, why = self._measured()
        measured = {name: domain for name, domain in self._domains(Unit.JOULES).items() if _is_measured(domain)}
        return {
            "windows": len(self.windows),
            "seconds": mean(window.seconds for window in self.windows),
            "cpu_seconds": self._mean_of(Unit.CPU_SECONDS),
            "joules": mean(joules) if joules else None,
            "joules_sd": stdev(joules) if len(joules) > 1 else None,
            "joules_of": {name: mean(window[name] for window in self.windows) for name in measured},
            "joules_by": {name: str(domain.provenance) for name, domain in measured.items()},
            "joules_why": why or None,
            "joules_vendor_estimate": self._of_kind("vendor-estimate"),
            "joules_modelled": self._of_kind("modelled"),
        }

    def __str__(self) -> str:
        found = self.figures()
        rows = [("seconds", f"{found['seconds']:.3f}")]
        if found["cpu_seconds"] is not None:
            rows.append(("processor", f"{found['cpu_seconds']:.3f} s of all cores together"))
        for name, amount in found["joules_of"].items():
            rows.append((name, f"{energy_words(amount)}, {found['joules_by'][name]}"))
        if found["joules"] is not None:
            spread = (
                "" if found["joules_sd"] is None else f", sd {found['joules_sd']:.3g} J over {found['windows']} runs"
            )
            rows.append(("measured", f"{energy_words(found['joules'])}{spread}"))
        for kind in ("vendor-estimate", "modelled"):
            if (amount := found[f"joules_{kind.replace('-', '_')}"]) is not None:
                rows.append((kind, energy_words(amount)))
        if found["joules_why"]:
            rows.append(("not measured", found["joules_why"]))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {words}" for name, words in rows)

    def _measured(self) -> tuple[Sequence[float], str]:
        """Measured joules of each window, and what is left out; shared figures have no sum."""
        try:
            joules = [window.measured().total() for window in self.windows]
        except NoSum as error:
            return (), self.absent or str(error)
        return joules, self.absent

    def _of_kind(self, kind: str) -> float | None:
        sums = [window.totals() for window in self.windows]
        return mean(each[kind] for each in sums) if all(kind in each for each in sums) else None

    def _mean_of(self, unit: Unit) -> float | None:
        return mean(window.total(unit) for window in self.windows) if self._domains(unit) else None

    def _domains(self, unit: Unit) -> dict[str, Domain]:
        return {name: domain for name, domain in self.windows[0].domains.items() if domain.unit is unit}


def _is_measured(domain: Domain) -> bool:
    return domain.provenance.kind == "measured"
