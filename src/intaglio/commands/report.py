"""`intaglio report RUN`: the report of a run as one HTML file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from intaglio.commands.kit.console import say
from intaglio.errors import BadInput


@dataclass(frozen=True)
class Report:
    """Write a run's report: one HTML file that needs no network."""

    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run's folder."""
    out: Path | None = None
    """Path of the file; none takes `report.html` in the run's folder."""

    def __call__(self) -> None:
        if not (self.run / "run.json").is_file():
            raise BadInput(f"{self.run} is not a run: it has no run.json; `intaglio runs` lists those there are")
        from intaglio.report import write_report

        say(str(write_report(self.run, self.out)))
