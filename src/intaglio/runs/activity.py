"""Signs that a process works on a run: its lock, or files that were written a moment ago."""

import os
from contextlib import suppress
from pathlib import Path

from intaglio.runs.header import FILE
from intaglio.runs.store import StoredRun

LOCK = ".lock"
"""The file in a run's folder that `Run.open` locks while it works."""
LOCKS = Path("/proc/locks")
"""Linux's list of the locks that processes hold; reading it takes none."""
RECENT_S = 30.0
"""Seconds since a run's last written file within which it counts as running, where its lock cannot be seen."""


def locked_files() -> frozenset[int]:
    """Inode numbers of all files that are locked on this machine; none where the system does not list them."""
    try:
        lines = LOCKS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    places = [word for line in lines for word in line.split() if word.count(":") == 2]
    inodes = [place.rpartition(":")[2] for place in places]
    return frozenset(int(inode) for inode in inodes if inode.isdecimal())


def is_running(run: StoredRun, locked: frozenset[int], now: float) -> bool:
    """Whether a process works on a run: it holds the lock, or wrote within the last `RECENT_S` seconds.

    Args:
        run: one that is done or failed is not running.
        locked: of `locked_files`.
        now: seconds since the epoch, as of files.
    """
    return run.status in ("unfinished", "") and works_on(run.folder, locked, now)


def works_on(folder: Path, locked: frozenset[int], now: float) -> bool:
    """Whether a process works on the unfinished run in this folder."""
    with suppress(OSError):
        if (folder / LOCK).stat().st_ino in locked:
            return True
    return 0 <= now - last_written(folder) < RECENT_S


def last_written(folder: Path) -> float:
    """Time at which `run.json` or a row of metrics was last written, seconds since the epoch; 0 where neither is."""
    times = [0.0]
    with suppress(OSError):
        times.append((folder / FILE).stat().st_mtime)
    with suppress(OSError), os.scandir(folder / "metrics") as files:
        times += [file.stat().st_mtime for file in files]
    return max(times)
