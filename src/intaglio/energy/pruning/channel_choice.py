"""The choice of widths under a budget: always the move that loses least importance for what it saves."""

import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from intaglio.errors import require

Levels = Mapping[str, int]
"""A level of each scope, an index into its widths from the full one (0) to the narrowest."""


@dataclass(frozen=True)
class WidthLadder:
    """Costs of a scope at each of its widths, from the full one downwards, and the importance lost by going there."""

    costs: tuple[float, ...]
    """By any additive measure, in its unit; a lower level may cost as much, or by an estimate's error even more."""
    lost: tuple[float, ...]
    """Importance of all that is removed at the level: 0 first, never falling."""

    def __post_init__(self) -> None:
        require(
            len(self.costs) == len(self.lost) > 0, "a scope has a cost and a lost importance for each of its levels"
        )

    def next_move(self, level: int) -> "Move | None":
        """The move down that loses least for each unit of cost that it saves; None where none saves anything.

        Every lower level is weighed, so that a stretch of equal costs is crossed in one move. Of equal ones the nearest
        is taken.
        """
        moves = [
            Move((self.lost[lower] - self.lost[level]) / saved, lower)
            for lower in range(level + 1, len(self.costs))
            if (saved := self.costs[level] - self.costs[lower]) > 0
        ]
        return min(moves, default=None)


class Move(NamedTuple):
    """A move of one scope to a lower level."""

    price: float
    """Importance that is lost for each unit of cost that is saved."""
    level: int


def falling_levels(ladders: Mapping[str, WidthLadder]) -> list[Levels]:
    """Levels of all scopes from the full widths on, each one move further, by the smallest price.

    Each price is at least the one before it, and of two scopes with the same the first moves.
    """
    now = dict.fromkeys(ladders, 0)
    waiting = {scope: ladder.next_move(0) for scope, ladder in ladders.items()}
    found: list[Levels] = [dict(now)]
    while open_moves := [(move.price, place, scope) for place, (scope, move) in enumerate(waiting.items()) if move]:
        _, _, scope = min(open_moves)
        move = waiting[scope]
        now[scope] = move.level if move else now[scope]
        waiting[scope] = ladders[scope].next_move(now[scope])
        found.append(dict(now))
    return found


def chosen_levels(ladders: Mapping[str, WidthLadder], fits: Callable[[Levels], bool]) -> Levels | None:
    """The levels by which a network fits a budget with little importance lost; None where no levels do.

    The first levels of `falling_levels` that fit are taken, and then, by the dearest moves first, each scope is made as
    wide again as the budget lets it. Where the first levels meet the budget exactly, no others within it lose less.

    Args:
        ladders: of each scope.
        fits: whether the network with these levels is within the budget; true of narrower ones where it is of wider.
    """
    path = falling_levels(ladders)
    first = bisect.bisect_left(path, True, key=fits)
    if first == len(path):
        return None
    found = dict(path[first])
    # The scope that moved at each step, and then each scope once, by its last move.
    moved = [next(scope for scope in now if now[scope] != last[scope]) for last, now in pairwise(path[: first + 1])]
    for scope in dict.fromkeys(reversed(moved)):
        found[scope] = bisect.bisect_left(
            range(found[scope]), True, key=lambda level, scope=scope: fits({**found, scope: level})
        )
    return found
