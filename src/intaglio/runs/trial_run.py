"""`TrialRun`: the null run that notes when its progress advances, for plans from a few steps of the work itself."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from intaglio.runs.progress import Progress
from intaglio.runs.run import NullRun


class TrialRun(NullRun):
    """Keeps nothing but the times of advances, by the label of the progress; what is warned of is not told."""

    def __init__(self) -> None:
        super().__init__(None, {}, "new", None, "none")
        self._times: dict[str, list[float]] = {}

    @contextmanager
    def progress(self, total: int, label: str, done: int = 0) -> Iterator[Progress]:
        """Notes the times of this piece of work."""
        yield _Noting(self._times.setdefault(label, []))

    def warn(self, message: str) -> None:
        """Tells nothing: the work itself will."""

    def step_seconds(self, label: str, steps: int) -> float:
        """Seconds of one step of each piece of work under a label, all pieces together.

        The first step of a piece, in which caches are filled and whatever is before it is made ready, is left out.

        Args:
            label: of the progress.
            steps: of each piece; fewer than two tell nothing, which is 0.
        """
        times = self._times.get(label, [])
        pieces = [times[first : first + steps] for first in range(0, len(times), steps)]
        return sum(((piece[-1] - piece[0]) / (len(piece) - 1) for piece in pieces if len(piece) > 1), 0.0)


class _Noting:
    def __init__(self, times: list[float]):
        self._times = times

    def advance(self, n: int = 1, **numbers: float | int) -> None:
        self._times += [time.perf_counter()] * n
