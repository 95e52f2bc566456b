"""`Aside`: networks of a model that wait in the memory of the CPU, and come to the device one by one, to be called."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

ELSEWHERE = "cpu"
"""Where they wait."""


class Aside:
    """Networks that can be off the device, each of which is there while it is called.

    Args:
        networks: moved in place.
        home: the device that they are called on. Where that is the CPU nothing is moved.
        found: those of them that wait already, and are to do so afterwards.
    """

    def __init__(self, networks: Iterable[nn.Module] = (), home: Any = ELSEWHERE, found: Collection[nn.Module] = ()):
        self._networks, self._home = tuple(networks), home
        self._moves = str(home).partition(":")[0] != ELSEWHERE
        self._gone = [any(network is one for one in found) for network in self._networks]

    @property
    def home(self) -> Any:
        """The device that they are called on."""
        return self._home

    @property
    def weights(self) -> list[Tensor]:
        """Weights and buffers that are away inside `away`; none where nothing is moved."""
        each = self._networks if self._moves else ()
        return [weight for network in each for weight in (*network.parameters(), *network.buffers())]

    @property
    def gone(self) -> list[nn.Module]:
        """The networks that are away now."""
        return [network for network, gone in zip(self._networks, self._gone, strict=True) if gone and self._moves]

    @contextmanager
    def away(self) -> Iterator[None]:
        """While the block runs the networks wait, but for their own calls; after it, and on error, all is as before."""
        before = list(self._gone)
        try:
            for place in range(len(self._networks)):
                self._move(place, gone=True)
            yield
        finally:
            for place, gone in enumerate(before):
                self._move(place, gone=gone)

    @contextmanager
    def visited(self, network: nn.Module) -> Iterator[None]:
        """While the block runs this network is on the device; it leaves again if it was away."""
        waits = [place for place, one in enumerate(self._networks) if one is network and self._gone[place]]
        try:
            for place in waits:
                self._move(place, gone=False)
            yield
        finally:
            for place in waits:
                self._move(place, gone=True)

    def _move(self, place: int, *, gone: bool) -> None:
        if self._moves and self._gone[place] != gone:
            self._networks[place].to(ELSEWHERE if gone else self._home)
            self._gone[place] = gone


class Visitor:
    """A network, or a module of it, that is on the device of an `Aside` while it is called, and its inputs with it."""

    def __init__(self, network: nn.Module, aside: Aside, called: nn.Module | None = None):
        self._network, self._aside, self._called = network, aside, network if called is None else called

    @property
    def device(self) -> Any:
        """The device that it is called on."""
        return self._aside.home

    def __call__(self, *given: Any, **named: Any) -> Any:
        with self._aside.visited(self._network):
            place = next(self._network.parameters()).device
            rows = [_moved(one, place) for one in given]
            return self._called(*rows, **{name: _moved(one, place) for name, one in named.items()})

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._called, name)
        return Visitor(self._network, self._aside, found) if isinstance(found, nn.Module) else found


def _moved(one: Any, place: Any) -> Any:
    return one.to(place) if isinstance(one, Tensor) else one


NOTHING = Aside()
"""No network is moved."""
