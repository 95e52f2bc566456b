"""Saved states of a training: when they are due, and the way back to the last one."""

import time
from collections.abc import Sequence

from intaglio.learning.trainer import Trainer
from intaglio.runs.run import Run
from intaglio.runs.tensors import damaged

STATE = "training"
"""Name of the saved state where a run has one training; the run's owner drops it once the result is stored."""


class Checkpoints:
    """Saves a trainer's state by the clock and by the step, and restores the last one.

    Args:
        run: where the state goes.
        every_s: seconds between two saved states, stretched so that saving takes at most a twentieth of the time.
        every: also every so many steps; 0 leaves it to the clock.
        streams: logs of the run that are cut back to the step that the state was saved at.
        state: name of the saved state, another one for each of several trainings of a run.
    """

    def __init__(
        self, run: Run, *, every_s: float, every: int = 0, streams: Sequence[str] = ("train",), state: str = STATE
    ):
        self._run, self._every_s, self._every, self._streams, self._state = run, every_s, every, streams, state
        self._due = time.monotonic() + every_s

    def restore(self, trainer: Trainer) -> None:
        """Go on from the last saved state, if there is one."""
        if (saved := self._run.load_state(self._state)) is not None:
            tensors, meta = saved
            try:
                trainer.restore(tensors, meta.whole("step"))
            except (KeyError, ValueError, TypeError, RuntimeError, IndexError) as error:
                raise damaged(meta.path) from error
        for stream in self._streams:
            self._run.rewind(stream, trainer.step)

    def save_when_due(self, trainer: Trainer) -> None:
        """Save, if it is time."""
        if (self._every and trainer.step % self._every == 0) or time.monotonic() >= self._due:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Save now."""
        start = time.monotonic()
        self._run.save_state(self._state, trainer.state(), {"step": trainer.step})
        spent = time.monotonic() - start
        self._due = time.monotonic() + max(self._every_s, 20 * spent)
