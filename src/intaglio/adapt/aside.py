"""`Aside`: networks that a training does not call, in the memory of the CPU meanwhile."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

ELSEWHERE = "cpu"
"""Where they wait."""


class Aside:
    """Networks that are off the device while a training runs, and back on it while pictures are drawn.

    Args:
        networks: moved in place; none of them may be called while it is away.
        home: the device that they are on. Where that is the CPU nothing is moved.
    """

    def __init__(self, networks: Iterable[nn.Module] = (), home: Any = ELSEWHERE):
        self._networks, self._home = tuple(networks), home
        self._moves, self._away = str(home).partition(":")[0] != ELSEWHERE, False

    @property
    def weights(self) -> list[Tensor]:
        """Weights and buffers that are away while a training runs; none where nothing is moved."""
        each = self._networks if self._moves else ()
        return [weight for network in each for weight in (*network.parameters(), *network.buffers())]

    @contextmanager
    def away(self) -> Iterator[None]:
        """While the block runs the networks are away; they come back after it, also on error."""
        self._move(away=True)
        try:
            yield
        finally:
            self._move(away=False)

    @contextmanager
    def back(self) -> Iterator[None]:
        """While the block runs they are on the device; those that were away are away again after it."""
        before = self._away
        self._move(away=False)
        try:
            yield
        finally:
            self._move(away=before)

    def _move(self, *, away: bool) -> None:
        if not self._moves or away == self._away:
            return
        for network in self._networks:
            network.to(ELSEWHERE if away else self._home)
        self._away = away


NOTHING = Aside()
"""No network is moved."""
