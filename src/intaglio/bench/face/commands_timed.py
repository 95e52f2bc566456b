"""Command lines of this program in processes of their own: seconds to the first sentence, plan over measured time."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from intaglio.errors import IntaglioError

PROGRAM = (sys.executable, "-m", "intaglio")
UNITS = {"s": 1, "min": 60, "h": 3600}
BARE = (sys.executable, "-c", "pass")


def first_sentence(words: Sequence[str], folder: Path, repeats: int) -> dict[str, Any]:
    """The shortest of some runs of a wrong command: seconds until its sentence, and the sentence.

    Raises `IntaglioError` where the command does not end as bad usage does.
    """
    spent, said = [], ""
    for _ in range(repeats):
        seconds, done = _timed((*PROGRAM, *words), folder)
        if done.returncode != 2:
            raise IntaglioError(f"`intaglio {' '.join(words)}` ended with {done.returncode} where 2 is due")
        spent.append(seconds)
        said = " ".join(done.stderr.split())
    return {"seconds": min(spent), "sentence": said}


def bare_python(folder: Path, repeats: int) -> float:
    """The shortest of some starts of Python that do nothing, in seconds."""
    return min(_timed(BARE, folder)[0] for _ in range(repeats))


def plan_and_time(words: Sequence[str], folder: Path) -> dict[str, Any]:
    """A command's planned seconds and those of its run, which the new run folder below `folder` tells.

    Of a command whose run keeps no plan, since making one costs too much, it is that of --dry-run. So it is of one
    without a run folder, and its time that of the command less that of the dry run, in which programs are started and
    models read. Raises `IntaglioError` where it fails, or tells no plan.
    """
    before = set(folder.rglob("run.json"))
    seconds, done = _timed((*PROGRAM, *words, "--quiet"), folder)
    if done.returncode:
        raise IntaglioError(f"`intaglio {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    made = [path for path in folder.rglob("run.json") if path not in before]
    header: Mapping[str, Any] = json.loads(made[0].read_text(encoding="utf-8")) if len(made) == 1 else {}
    planned, measured = header.get("planned_seconds"), header.get("seconds")
    if not planned:
        planned, dry_s = _dry_run(words, folder)
        measured = measured or seconds - dry_s
    if not measured or measured <= 0:
        raise IntaglioError(f"`intaglio {' '.join(words)}` is over before its plan is made")
    return {"planned_s": planned, "measured_s": measured, "ratio": planned / measured, "command_s": seconds}


def _dry_run(words: Sequence[str], folder: Path) -> tuple[float, float]:
    """The seconds that --dry-run tells, and those that it takes. Raises `IntaglioError` where it tells none."""
    spent, told = _timed((*PROGRAM, *words, "--dry-run"), folder)
    found = re.search(r"time +about ([0-9.]+) (s|min|h)", told.stdout)
    if found is None:
        raise IntaglioError(f"`intaglio {' '.join(words)}` keeps no plan beside its time, and tells none by --dry-run")
    return float(found[1]) * UNITS[found[2]], spent


def _timed(words: Sequence[str], folder: Path) -> tuple[float, subprocess.CompletedProcess[str]]:
    began = time.perf_counter()
    done = subprocess.run(words, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)
    return time.perf_counter() - began, done
