"""Commands started several times at once by `accelerate launch`: one training, whose steps the processes share."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from intaglio.errors import BadInput, IntaglioError

if TYPE_CHECKING:
    from intaglio.learning.sharing_processes import Processes

LONGEST_WAIT = timedelta(hours=6)
"""How long processes wait for the main one, which alone draws and judges pictures and writes files."""
HERE_ALONE = "processor seconds of this run are those of the main process alone"


def launched(told: Mapping[str, str] = os.environ) -> int:
    """The processes that a launcher started together, as it tells each of them; 1 without one."""
    count = told.get("WORLD_SIZE", "")
    return int(count) if count.isdecimal() and "LOCAL_RANK" in told else 1


def check_launched(command: Any, path: list[str]) -> None:
    """Raises `BadInput` for a command that would only be done several times over."""
    if launched() > 1 and not getattr(command, "shares_steps", False):
        raise BadInput(
            f"intaglio {' '.join(path)} works in one process, and {launched()} were launched; start it by itself (only "
            "finetune shares its steps among the processes of accelerate launch)"
        )


@contextmanager
def joined_processes(device: str) -> "Iterator[Processes]":
    """The processes that were launched together, with the device that this one computes on, joined for the block.

    Raises:
        BadInput: accelerate is not installed, or one GPU is named for all of them.
    """
    from intaglio.learning.sharing_processes import Processes

    if launched() == 1:
        yield Processes(device=device)
        return
    if device not in ("cpu", "cuda"):
        raise BadInput(f"--device {device} is one device, and {launched()} processes were launched; give cpu or cuda")
    try:
        from accelerate import PartialState  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BadInput(
            "several processes need accelerate, which is not installed: pip install 'intaglio[devices]'"
        ) from error
    state = PartialState(cpu=device == "cpu", timeout=LONGEST_WAIT)
    try:
        if not state.is_main_process:
            logging.getLogger("intaglio").setLevel(logging.ERROR)  # warnings are the main process's to give
        yield Processes(state.process_index, state.num_processes, str(state.device))
    finally:
        state.destroy_process_group()


@contextmanager
def told_to_begin(processes: "Processes") -> Iterator[Callable[[], None]]:
    """For the main process: a function that begins the training everywhere; unless it is called in the block, the
    others are told at its end that there is nothing to do.
    """
    begun = False

    def begin() -> None:
        nonlocal begun
        begun = True
        processes.any(True)

    try:
        yield begin
    finally:
        if not begun:
            with suppress(IntaglioError):  # the error that ended the block says more
                processes.any(False)
