"""`intaglio report RUN`: the report of a run as one HTML file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from tyro.conf import Positional

from intaglio.commands.kit.console import say


@dataclass(frozen=True)
class Report:
    """Write a run's report: one HTML file that needs no network."""

    keeps_run: ClassVar[bool] = False
    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """The run's folder or name, or the beginning of its name or of its ten hex digits."""
    runs: Path = Path("runs")
    """The folder of runs, for a name."""
    out: Path | None = None
    """Path of the file; none takes `report.html` in the run's folder."""

    def __call__(self) -> None:
        from intaglio.report import write_report
        from intaglio.runs.store import find_run

        say(str(write_report(find_run(self.runs, self.run).folder, self.out)))
