"""When a learner's state is saved, and how it is found again."""

import time
from collections.abc import Sequence

from intaglio.learning.learner import Learner
from intaglio.runs.run import Run

STATE = "training"
"""Name of the saved state; the run's owner drops it once the result is stored."""


class Keeper:
    """Saves the learner's state by the clock and by the step, and finds it again.

    Args:
        run: where the state goes.
        every_s: seconds between two saved states, stretched so that saving takes at most a twentieth of the time.
        every: also every so many steps; 0 leaves it to the clock.
        streams: logs of the run that are cut back to the step that the state was saved at.
    """

    def __init__(self, run: Run, *, every_s: float, every: int = 0, streams: Sequence[str] = ("train",)):
        self._run, self._every_s, self._every, self._streams = run, every_s, every, streams
        self._due = time.monotonic() + every_s

    def restore(self, learner: Learner) -> None:
        """Go on from the last saved state, if there is one."""
        if (saved := self._run.load_state(STATE)) is not None:
            tensors, meta = saved
            learner.restore(tensors, int(meta["step"]))
        for stream in self._streams:
            self._run.rewind(stream, learner.step)

    def keep_when_due(self, learner: Learner) -> None:
        """Save, if it is time."""
        if (self._every and learner.step % self._every == 0) or time.monotonic() >= self._due:
            self.keep(learner)

    def keep(self, learner: Learner) -> None:
        """Save now."""
        start = time.monotonic()
        self._run.save_state(STATE, learner.state(), {"step": learner.step})
        spent = time.monotonic() - start
        self._due = time.monotonic() + max(self._every_s, 20 * spent)
