"""The given graph between the attributes of pictures: who is a direct cause of whom."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from intaglio.errors import BadInput
from intaglio.printable import one_line


@dataclass(frozen=True)
class AttributeGraph:
    """Attributes with the places of their direct causes, which are acyclic."""

    names: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    """Places of each attribute's direct causes, sorted."""

    @classmethod
    def of(cls, names: Sequence[str], edges: Iterable[tuple[str, str]] = ()) -> "AttributeGraph":
        """From pairs (cause, effect). Raises `BadInput` for names that are none of the attributes, and for a cycle."""
        place = {name: k for k, name in enumerate(names)}
        parents: list[set[int]] = [set() for _ in names]
        for cause, effect in edges:
            for name in (cause, effect):
                if name not in place:
                    raise BadInput(f"the graph names {one_line(name)}, which is no attribute; give it a column")
            parents[place[effect]].add(place[cause])
        found = cls(tuple(names), tuple(tuple(sorted(one)) for one in parents))
        try:
            _ = found.order
        except CycleError as error:
            cycle = " -> ".join(one_line(names[int(k)]) for k in error.args[1])
            raise BadInput(f"the graph has the cycle {cycle}; an attribute cannot be a cause of itself") from None
        return found

    @cached_property
    def order(self) -> tuple[int, ...]:
        """All places, causes before their effects."""
        return tuple(TopologicalSorter(dict(enumerate(self.parents))).static_order())

    @property
    def edges(self) -> list[tuple[str, str]]:
        """Pairs (cause, effect)."""
        return [(self.names[one], self.names[k]) for k, parents in enumerate(self.parents) for one in parents]
