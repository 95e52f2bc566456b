"""`intaglio bench face`: how soon a wrong command answers, work beside its plan, the page over runs."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intaglio.bench.face.commands_timed import bare_python, first_sentence, plan_and_time
from intaglio.bench.face.lines import PLANNED, QUICK, WRONG, prepared
from intaglio.bench.face.page_times import page_figures
from intaglio.errors import BadInput
from intaglio.files import folder_hash
from intaglio.models import testbed
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan

PAGES = (10, 10_000)
"""Runs that the page is opened over."""


@dataclass(frozen=True, kw_only=True)
class FaceBench:
    """Seconds until wrong commands answer, those of work beside its plan, and of the page over runs.

    Ten wrong commands, each in a process of its own: the shortest of some runs until its sentence, in seconds and over
    a start of Python that does nothing. One command of each verb on the embedded models and a few-shot set, as a user
    types it: the seconds that it planned over those that it took; below 1 the plan promised too little.
    `intaglio view` over 10 and 10,000 made-up runs: until its address is printed, of answers and first paints of the
    list, and axe's serious findings on the list and a run's page, where Chromium, playwright and axe are installed. On
    a busy machine all figures are those of the load.
    """

    quick: bool = False
    """One run of each wrong command, and the shortest work; some five minutes."""
    verbs: tuple[str, ...] = ()
    """Verbs whose plans are measured, as finetune or "flow sample"; none takes all (with --quick the short ones)."""
    repeats: int | None = None
    """Runs of each wrong command, 1 or more; none takes 5 (1 with --quick)."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.repeats is not None and self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, not {self.repeats}")
        if unknown := [name for name in self.verbs if name not in PLANNED]:
            raise BadInput(f"no plan of {unknown[0]!r} is measured here; choose from: {', '.join(PLANNED)}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measures; the figures by name, those of each command under `wrong` and `plans`."""
        settings = {"quick": self.quick, "verbs": self._verbs(), "repeats": self._repeats()}
        inputs = {"model": {"path": "testbed", "sha256": folder_hash(testbed.base_path())}}
        about = {"seed": None, "device": "cpu", "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "face", settings, inputs, **about) as run:
            if run.status != "done":
                self._measure(run)
                run.finish(without_nan(_figures(run)))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """Two tables: wrong commands, and plans."""
        lines = [f"{'seconds':>8} {'times bare Python':>18}  wrong command"]
        for line, one in figures["wrong"].items():
            lines.append(f"{one['seconds']:8.2f} {one['seconds'] / figures['bare_python_s']:18.1f}  {line}")
        lines += ["", f"{'planned':>8} {'took':>8} {'ratio':>6}  work"]
        for line, one in figures["plans"].items():
            lines.append(f"{one['planned_s']:8.1f} {one['measured_s']:8.1f} {one['ratio']:6.2f}  {line}")
        lines += ["", f"{'up':>8} {'answer':>8} {'all read':>8} {'later':>8} {'paint':>8} {'axe':>4}  page"]
        for name, one in figures["pages"].items():
            cells = [one[f"{key}_s"] for key in ("up", "first_answer", "all_read", "later_answer", "first_paint")]
            told = " ".join(f"{'-' if cell is None else f'{cell:.2f}':>8}" for cell in cells)
            axe = "-" if one["axe_serious"] is None else one["axe_serious"]
            lines.append(f"{told} {axe:>4}  {name}")
        return "\n".join(lines)

    def _verbs(self) -> tuple[str, ...]:
        return self.verbs or (QUICK if self.quick else tuple(PLANNED))

    def _repeats(self) -> int:
        return self.repeats or (1 if self.quick else 5)

    def _measure(self, run: Run) -> None:
        jobs = [("wrong", name) for name in WRONG] + [("plans", name) for name in self._verbs()]
        jobs += [("pages", f"{count} runs") for count in PAGES]
        left = [(part, name) for part, name in jobs if name not in run.recorded(part)]
        with _scratch() as folder, run.progress(len(jobs), "commands", len(jobs) - len(left)) as progress:
            if left:
                prepared(folder)
            run.record("bare", "python", {"seconds": bare_python(folder, 5)})
            for part, name in left:
                if part == "wrong":
                    found = first_sentence(WRONG[name], folder, self._repeats())
                elif part == "pages":
                    found = page_figures(int(name.split()[0]))
                else:
                    found = plan_and_time(PLANNED[name], folder)
                run.record(part, name, found)
                progress.advance()


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that the commands work in, which is deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="intaglio-face-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _figures(run: Run) -> dict[str, Any]:
    wrong, plans, bare = run.recorded("wrong"), run.recorded("plans"), run.recorded("bare")["python"]["seconds"]
    ratios = [one["ratio"] for one in plans.values()]
    slowest = max(one["seconds"] for one in wrong.values())
    return {
        "slowest_first_sentence_s": slowest,
        "slowest_first_sentence_over_bare_python": slowest / bare,
        "bare_python_s": bare,
        "plan_ratio_lowest": min(ratios),
        "plan_ratio_highest": max(ratios),
        "plans_outside": sorted(name for name, one in plans.items() if not 0.7 <= one["ratio"] <= 1.5),
        "pages": run.recorded("pages"),
        "wrong": wrong,
        "plans": plans,
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
    }
