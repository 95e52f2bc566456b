"""`intaglio view [RUNS]`: a local web page over a folder of runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from tyro.conf import Positional

from intaglio.commands.kit.console import note, say


@dataclass(frozen=True)
class View:
    """Show a folder of runs as a web page on this machine: search, live curves, reports, comparisons.

    The page answers on this machine alone, to who has the printed address, and changes nothing. Ctrl-C ends it.
    """

    keeps_run: ClassVar[bool] = False
    runs: Annotated[Positional[Path], tyro.conf.arg(metavar="RUNS")] = Path("runs")
    """The folder of runs."""
    port: int = 0
    """Port on 127.0.0.1, 1 to 65535; 0 takes a free one."""
    open: bool = True
    """Open the page in a browser, where there is one with windows."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be 0 to 65535, not {self.port}")

    def __call__(self) -> None:
        """The page, until Ctrl-C."""
        from intaglio.view.server import serve

        try:
            serve(self.runs, self.port, self.open, say)
        except KeyboardInterrupt:
            note("The page is closed; the runs are as they were.")
