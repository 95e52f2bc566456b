"""`intaglio energy doctor`: every meter of this machine, or why it cannot be read and the remedy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from intaglio.commands.kit.console import note, say, say_json
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.meters.survey import MeterFacts

HEAD = ("meter", "state", "domains", "origin", "tick", "reason or remedy")


@dataclass(frozen=True, kw_only=True)
class EnergyDoctor:
    """List the energy meters: state, domains, origin of the figures, tick, and the remedy where one cannot be read.

    Nothing is changed, and no permission is asked for.
    """

    accelerator: str = "cuda:0"
    """Torch device whose meters are looked for beside those of the processor, such as cuda:1; it need not be there."""
    ticks: bool = True
    """Measure how often counters change, which takes 2 s each; better while the machine works."""
    json: bool = False
    """One line of JSON in place of the table."""

    def __call__(self) -> None:
        """Look, and print."""
        from intaglio.meters.survey import survey

        if self.ticks:
            note("looking; the tick of each counter takes 2 s")
        facts = list(survey(self.accelerator, self.ticks))
        if self.json:
            say_json({"accelerator": self.accelerator, "meters": [one.to_json() for one in facts]})
        else:
            say(aligned([HEAD, *map(_row, facts)]))


def _row(facts: "MeterFacts") -> tuple[str, ...]:
    shared = {name for name, domain in facts.domains.items() if domain.shared} | facts.shared
    domains = ", ".join(f"{name} (shared)" if name in shared else name for name in facts.domains)
    origins = ", ".join(dict.fromkeys(str(domain.provenance) for domain in facts.domains.values()))
    tick = "" if facts.tick_s is None else f"{1000 * facts.tick_s:.3g} ms{'' if facts.tick_measured else ', stated'}"
    return facts.name, facts.state, domains or "-", origins or "-", tick or "-", facts.why or "-"
