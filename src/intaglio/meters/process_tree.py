"""Processes that are this one or its descendants, told from those of others."""

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def others_among(pids: Iterable[int], proc: Path = PROC) -> bool:
    """Whether some of these processes are neither this one nor its descendants.

    A container may list processes by numbers that are not its own, and which `/proc` does not have. Then a single one
    is taken for this process where this process is not listed by its own number; any further one belongs to others.
    """
    listed = set(pids)
    visible = {pid for pid in listed if pid == os.getpid() or (proc / str(pid)).exists()}
    own = {pid for pid in visible if is_own(pid, proc)}
    return bool(visible - own) or len(listed - visible) > (0 if own else 1)


def is_own(pid: int, proc: Path = PROC) -> bool:
    """Whether a process is this one or descends from it."""
    seen = set()
    while pid and pid not in seen:
        if pid == os.getpid():
            return True
        seen.add(pid)
        pid = _parent(pid, proc)
    return False


def _parent(pid: int, proc: Path) -> int:
    """The parent's number; 0 for the first process, and for one that has ended."""
    try:
        # The name of the program comes before the numbers, in brackets, and may hold brackets and spaces itself.
        return int((proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
