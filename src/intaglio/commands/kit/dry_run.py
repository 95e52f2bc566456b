"""`--dry-run`: a command that tells what its work costs before it begins."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from intaglio.commands.kit.console import note, say, say_json, writes_json

if TYPE_CHECKING:
    from intaglio.commands.kit.energy_lines import EnergyLine
    from intaglio.runs.run import Run


@runtime_checkable
class Planned(Protocol):
    """A plan: `str()` is its text for people."""

    @property
    def seconds(self) -> float:
        """Seconds of the whole job on an idle machine."""
        ...


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """A command whose work can be planned without being done."""

    dry_run: bool = False
    """Print the plan and stop."""

    def ends_with(self, plan: Planned, energy: "EnergyLine | None" = None) -> bool:
        """Prints the plan where it is all that was asked for; returns whether it is."""
        if self.dry_run and (writes_json() or getattr(self, "json", False)):
            say_json({"planned_seconds": plan.seconds, "plan": _text(plan, energy).splitlines()})
        elif self.dry_run:
            say(_text(plan, energy))
        return self.dry_run

    def begin(self, run: "Run", plan: Planned, energy: "EnergyLine | None" = None) -> None:
        """Notes the plan, and keeps its time with the run."""
        note(_text(plan, energy))
        run.planned(plan.seconds)


def _text(plan: Planned, energy: "EnergyLine | None") -> str:
    return str(plan) if energy is None else f"{plan}\n{energy.line}"
