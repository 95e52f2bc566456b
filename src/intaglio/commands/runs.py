"""`intaglio runs`: list runs, show one, resume one, export some."""

import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from intaglio.commands.kit.console import note, say, say_json
from intaglio.errors import BadInput
from intaglio.printable import aligned, one_line

if TYPE_CHECKING:
    from intaglio.runs.store import StoredRun


@dataclass(frozen=True)
class Runs:
    """List runs, show one, resume an unfinished one, export some to another program's store, or count them and remove
    the index of earlier versions.
    """

    action: Positional[Literal["list", "show", "resume", "export", "reindex"]] = "list"
    """The action."""
    run: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN")] = ()
    """For show and resume one run, for export any number: its folder or name, or the beginning of its name or of its
    ten hex digits."""
    to: Annotated[tuple[Literal["mlflow", "tensorboard"], Path] | None, tyro.conf.arg(metavar="STORE DIR")] = None
    """For export: the program, mlflow or tensorboard, and the folder of its local store."""
    all: bool = False
    """For export: every run of the folder of runs."""
    runs: Path = Path("runs")
    """The folder of runs."""
    json: bool = False
    """Write JSON instead of text (list and show)."""

    def __call__(self) -> int | None:
        needs_run = self.action in ("show", "resume") or (self.action == "export" and not self.all)
        if needs_run and not self.run:
            raise BadInput(f"runs {self.action} wants the name of a run; `intaglio runs` lists those there are")
        if self.run and not needs_run:
            remedy = "leave it or --all out" if self.action == "export" else "did you mean runs show?"
            raise BadInput(f"runs {self.action} takes no run, and was given {' '.join(self.run)!r}; {remedy}")
        if len(self.run) > 1 and self.action != "export":
            raise BadInput(f"runs {self.action} takes one run, and was given {len(self.run)}: {' '.join(self.run)}")
        if (self.to is None) is (self.action == "export") or (self.all and self.action != "export"):
            raise BadInput(
                "runs export wants --to mlflow DIR or --to tensorboard DIR; no other action takes --to or --all"
            )
        if self.json and self.action not in ("list", "show"):
            raise BadInput(f"--json belongs to list and show; runs {self.action} has nothing to write as JSON")
        return getattr(self, f"_{self.action}")()

    def _list(self) -> None:
        from intaglio.runs.activity import is_running, locked_files
        from intaglio.runs.store import damaged_runs, list_runs

        sound, damaged = list_runs(self.runs), damaged_runs(self.runs)
        if self.json:
            say_json([_as_json(run) for run in (*sound, *damaged)])
        elif sound or damaged:
            at_work, now = locked_files(), time.time_ns() / 1e9
            rows = [_row(run, is_running(run, at_work, now)) for run in sound]
            rows += [(run.name, run.status, "", "", "", "") for run in damaged]
            say(aligned([("run", "status", "started", "took", "of", "result"), *rows]))
            for run in damaged:
                note(str(run.header["error"]))
        else:
            note(f"no runs in {self.runs} yet")

    def _show(self) -> None:
        run = self._found()
        if self.json:
            say_json(_as_json(run))
            return
        header = run.header
        rows = [("run", run.name), ("folder", str(run.folder)), ("status", run.status), ("started", run.started)]
        rows += [("finished", run.finished or "not yet"), ("took", _duration(run.seconds))]
        rows += [("device", header.get("device")), ("seed", header.get("seed"))]
        rows += [("command", shlex.join(["intaglio", *header["command"]]) if header.get("command") else "from Python")]
        rows += [(f"input {role}", about.get("path")) for role, about in (header.get("inputs") or {}).items()]
        rows += [(f"setting {name}", value) for name, value in (header.get("settings") or {}).items()]
        rows += [("warning", warning) for warning in header.get("warnings") or []]
        rows += [("error", header["error"])] if header.get("error") else []
        rows += [(f"result {name}", _short(value)) for name, value in (header.get("summary") or {}).items()]
        say(aligned(rows))

    def _resume(self) -> int:
        from intaglio.commands.kit.dispatch import run

        found = self._found()
        command = found.header.get("command")
        if found.status == "done":
            note(f"{found.name} is done already; its report: intaglio report {shlex.quote(str(found.folder))}")
            return 0
        if not command:
            raise BadInput(f"{found.name} was started from Python, not from the command line; call it again there")
        note(f"intaglio {shlex.join(command)}")
        return run(list(command), resumed=found)

    def _reindex(self) -> None:
        from intaglio.runs.store import list_runs, remove_old_index

        remove_old_index(self.runs)
        say(f"{len(list_runs(self.runs))} runs in {self.runs}")

    def _export(self) -> None:
        from intaglio.report.export.exported_run import export_run
        from intaglio.runs.store import damaged_runs, find_run, list_runs

        store, place = self.to or ("mlflow", Path())  # given, as the call has checked
        for run in damaged_runs(self.runs) if self.all else ():
            note(f"{run.name} is left out: {run.header['error']}")
        for run in list_runs(self.runs) if self.all else [find_run(self.runs, wanted) for wanted in self.run]:
            say(f"{run.name}: {export_run(run.folder, store, place)}")

    def _found(self) -> "StoredRun":
        from intaglio.runs.store import find_run

        return find_run(self.runs, self.run[0])


def _row(run: "StoredRun", running: bool) -> tuple[str, ...]:
    """A run's line in the list: what it was made of, and what it gave."""
    status = "running" if running else run.status
    inputs = [f"{role} {Path(str(about.get('path'))).name}" for role, about in (run.header.get("inputs") or {}).items()]
    if run.header.get("error"):
        given = one_line(str(run.header["error"]))
    else:
        results = run.header.get("results") or []
        given = results[0].split("/")[0] if results else ""
    took = _duration(run.seconds)
    return (run.name, status, run.started[:16].replace("T", " "), took, _cut(", ".join(inputs)), _cut(given))


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _as_json(run: "StoredRun") -> dict[str, Any]:
    return {**run.header, "name": run.name, "folder": str(run.folder)}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]} ... (--json writes all)"
