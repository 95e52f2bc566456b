"""`track_energy`: a decorator that adds a line to a file for each call of a function, with what the call took."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from intaglio.errors import BadInput
from intaglio.meters.machine_meters import FoundMeters, meters_for
from intaglio.meters.monitor import name_of_work
from intaglio.meters.repeated_windows import RepeatedWindows

P = ParamSpec("P")
T = TypeVar("T")


def track_energy(
    to: str | Path, device: str = "cpu", meters: FoundMeters | None = None
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator: each call adds a line of JSON to the file `to`, and returns or raises as the function does.

    The line holds the function's name, the moment at which it began, and the figures of `MeasuredWork`: joules are
    null, with the reason, where a meter failed or the call was too short for it. A call that raises adds none.

    Args:
        to: file of JSON lines, which is made where it is missing and never shortened.
        device: torch device that works, for the choice of meters.
        meters: the meters; None takes those of this machine, looked for at the first call.

    Raises:
        TypeError: of a coroutine or generator function, whose call returns before its work is done.
        BadInput: of a call, before its work, where the file cannot be written.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        name, found = name_of_work(function), [] if meters is None else [meters]

        @wraps(function)
        def tracked(*args: P.args, **kwargs: P.kwargs) -> T:
            if not found:
                found.append(meters_for(device))
            windows, began = RepeatedWindows(found[0]), datetime.now(UTC).isoformat()
            _append(Path(to), b"")
            with windows.window():
                value = function(*args, **kwargs)
            _append(Path(to), _line({"function": name, "began": began, **windows.work().figures()}))
            return value

        return tracked

    return decorate


def _line(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, allow_nan=False) + "\n").encode()


def _append(path: Path, line: bytes) -> None:
    """Adds a line by one write, so that lines of several processes stay whole. Raises `BadInput`."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}); name another file") from None
