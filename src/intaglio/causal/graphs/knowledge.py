"""`Knowledge`: background knowledge of a causal graph, checked, read from files, and as boolean matrices."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from intaglio.causal.graphs.paths import cycle
from intaglio.data_files import read_json, read_toml
from intaglio.errors import BadInput

Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Constraints:
    """Background knowledge of d variables with its consequences, as matrices; [i, j] is about i → j."""

    required: Bool[ndarray, "d d"]
    """Arrows that must be there, without a cycle; without hidden causes also those of adjacent pairs with one direction
    forbidden."""
    forbidden: Bool[ndarray, "d d"]
    """Arrows that must not be there: forbidden ones, against the tiers, opposite to required ones, of apart pairs."""
    adjacent: Bool[ndarray, "d d"]
    """Symmetric: pairs that must have an edge."""
    apart: Bool[ndarray, "d d"]
    """Symmetric: pairs that must have none."""

    def oriented(self, skeleton: Bool[ndarray, "d d"]) -> Bool[ndarray, "d d"]:
        """The arrows that follow if the adjacencies are those of a skeleton; they may form a cycle with it."""
        return self.required | (skeleton & self.forbidden.T)

    def allow(self, dag: Bool[ndarray, "d d"]) -> bool:
        """Whether a DAG agrees with all of it."""
        wrong = (self.required & ~dag) | (self.forbidden & dag) | (self.adjacent & ~dag & ~dag.T)
        return not wrong.any()


@dataclass(frozen=True)
class Knowledge:
    """Arrows and edges that a graph must or must not have, by the names of columns; empty by default.

    Raises:
        BadInput: a pair that is not two different names, a tier that is not a list of names.
    """

    required: tuple[Pair, ...] = ()
    """(cause, effect) of arrows that must be there."""
    forbidden: tuple[Pair, ...] = ()
    """(cause, effect) of arrows that must not be there; the opposite ones may be."""
    adjacent: tuple[Pair, ...] = ()
    """Pairs that must have an edge, in either direction."""
    apart: tuple[Pair, ...] = ()
    """Pairs that must have no edge."""
    tiers: tuple[tuple[str, ...], ...] = ()
    """Temporal tiers, earliest first: nothing in a tier is an effect of a later one; names in no tier are free."""

    def __post_init__(self):
        for field in fields(self):
            object.__setattr__(self, field.name, _entries(field.name, getattr(self, field.name)))

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return any(getattr(self, field.name) for field in fields(self))

    @classmethod
    def load(cls, path: Path) -> "Knowledge":
        """From a `.toml` or `.json` file: lists of pairs under the names of the fields, and lists of names in `tiers`.

        Raises:
            BadInput: the file cannot be read or parsed, or has other entries; the message names it.
        """
        path = Path(path)
        content = _parsed(path)
        known = [field.name for field in fields(cls)]
        if unknown := next((key for key in content if key not in known), None):
            raise BadInput(f"{path.name} has an entry {unknown!r}, which knowledge does not; use {', '.join(known)}")
        if wrong := next((key for key, value in content.items() if not isinstance(value, list)), None):
            raise BadInput(f'{path.name}: {wrong} is no list; write it like {wrong} = [["A", "B"]]')
        try:
            return cls(**{kind: _entries(kind, value) for kind, value in content.items()})
        except BadInput as error:
            raise BadInput(f"{path.name}: {error}") from None

    def restricted_to(self, names: Iterable[str]) -> "Knowledge":
        """The knowledge about these variables alone; pairs with another variable and others in tiers are left out."""
        kept = set(names)
        pairs = {kind: tuple(p for p in getattr(self, kind) if kept.issuperset(p)) for kind in _PAIRS}
        return Knowledge(**pairs, tiers=tuple(tuple(n for n in tier if n in kept) for tier in self.tiers))

    def check(self, names: Sequence[str], *, hidden_causes: bool = False) -> None:
        """Raises `BadInput`, with the variables, unless some DAG over these names agrees with all of it.

        With `hidden_causes` it is some MAG; see `constraints`.
        """
        self.constraints(names, hidden_causes=hidden_causes)

    def constraints(self, names: Sequence[str], *, hidden_causes: bool = False) -> Constraints:
        """The knowledge as matrices in the order of these names.

        Args:
            names: all variables of the graph.
            hidden_causes: whether two variables may be adjacent by a hidden common cause alone. Then the knowledge is
                about a MAG: required is a → b, forbidden is a → b while a ↔ b may be, and a pair with both directions
                forbidden may be adjacent.

        Raises:
            BadInput: an unknown name, a name in two tiers, a pair that is required and forbidden or adjacent and apart,
                a required arrow against the tiers, required arrows that form a cycle.
        """
        self._check_names(names)
        required, forbidden = self._matrix("required", names), self._matrix("forbidden", names)
        adjacent, apart = self._matrix("adjacent", names), self._matrix("apart", names)
        tiers = self._against_tiers(names)
        for both, sentence in (
            (required & forbidden, "{0} → {1} is both required and forbidden; keep one of the two"),
            (required & tiers, "{0} → {1} is required, but the tiers put {1} before {0}; mend one of the two"),
            (required & (apart | apart.T), "{0} → {1} is required, but the two are to be apart; keep one of the two"),
            (adjacent & (apart | apart.T), "{0} and {1} are to be both adjacent and apart; keep one of the two"),
        ):
            _refuse(both, sentence, names)
        matrices = (required, forbidden | tiers, adjacent | adjacent.T, apart | apart.T)
        return _about_mags(names, *matrices) if hidden_causes else _with_consequences(names, *matrices)

    def _check_names(self, names: Sequence[str]) -> None:
        for kind, name in self._mentioned():
            if name not in names:
                near = get_close_matches(name, names, n=1)
                remedy = f"did you mean {near[0]!r}?" if near else f"there are {_listed(names)}"
                raise BadInput(f"knowledge has {name!r} under {kind}, which is no column; {remedy}")
        seen: dict[str, int] = {}
        for k, tier in enumerate(self.tiers, start=1):
            for name in tier:
                if name in seen:
                    raise BadInput(f"{name!r} stands in tier {seen[name]} and again in tier {k}; leave it in one")
                seen[name] = k

    def _mentioned(self) -> Iterator[tuple[str, str]]:
        for field in fields(self):
            yield from ((field.name, name) for entry in getattr(self, field.name) for name in entry)

    def _matrix(self, kind: str, names: Sequence[str]) -> Bool[ndarray, "d d"]:
        index = {name: k for k, name in enumerate(names)}
        matrix = np.zeros((len(names), len(names)), dtype=bool)
        for first, second in getattr(self, kind):
            matrix[index[first], index[second]] = True
        return matrix

    def _against_tiers(self, names: Sequence[str]) -> Bool[ndarray, "d d"]:
        """[i, j]: whether i is in a later tier than j."""
        index = {name: float(k) for k, tier in enumerate(self.tiers) for name in tier}
        # A comparison with NaN is false, so names in no tier are free.
        tier = np.array([index.get(name, np.nan) for name in names])
        return tier[:, None] > tier[None, :]


_PAIRS = ("required", "forbidden", "adjacent", "apart")


def _entries(kind: str, entries: Iterable[Any]) -> tuple[Any, ...]:
    """Pairs or tiers as tuples of names; numbers are names by their text. Raises `BadInput` for anything else."""
    for number, entry in enumerate(entries, start=1):
        named = not isinstance(entry, str) and isinstance(entry, Sequence)
        names = named and all(isinstance(n, str | Integral) and not isinstance(n, bool) for n in entry)
        if kind == "tiers" and not names:
            raise BadInput(f'tier {number} is {entry!r}, which is no list of names; write it like ["A", "B"]')
        if kind in _PAIRS and not (names and len(entry) == 2):
            raise BadInput(f'{kind} has {entry!r}, which is no pair of names; write it like ["A", "B"]')
        if kind in _PAIRS and str(entry[0]) == str(entry[1]):
            raise BadInput(f"{kind} pairs {entry[0]!r} with itself; give two different columns")
    return tuple(tuple(map(str, entry)) for entry in entries)


def _parsed(path: Path) -> dict[str, Any]:
    readers = {".toml": read_toml, ".json": read_json}
    if path.suffix.lower() not in readers:
        raise BadInput(f"{path.name} is no .toml or .json file; write what is known in one of these")
    content = readers[path.suffix.lower()](path, "mend it there")
    if not isinstance(content, dict):
        raise BadInput(f'{path.name} holds no table of entries; write it like {{"required": [["A", "B"]]}}')
    return content


def _with_consequences(names: Sequence[str], required, forbidden, adjacent, apart) -> Constraints:
    """Adds consequences: an adjacent pair with one direction forbidden has the other; with both, it is no edge."""
    _refuse_cycle(names, required)
    forbidden = forbidden | required.T | apart
    closed = forbidden & forbidden.T & ~np.eye(len(names), dtype=bool)
    adjacent = adjacent | required | required.T
    _refuse(adjacent & closed, "{0} and {1} are to be adjacent, but both directions are forbidden; allow one", names)
    required = required | (adjacent & forbidden.T)
    _refuse_cycle(names, required)
    return Constraints(required, forbidden | required.T, adjacent, apart | closed)


def _about_mags(names: Sequence[str], required, forbidden, adjacent, apart) -> Constraints:
    """Adds consequences for MAGs, where no direction follows from the other one's being forbidden."""
    _refuse_cycle(names, required)
    return Constraints(required, forbidden | required.T | apart, adjacent | required | required.T, apart)


def _refuse_cycle(names: Sequence[str], required: Bool[ndarray, "d d"]) -> None:
    if found := cycle(required):
        chain = " → ".join(names[k] for k in [*found, found[0]])
        raise BadInput(f"what is required makes {chain} a cycle; take one of these arrows back")


def _refuse(both: Bool[ndarray, "d d"], sentence: str, names: Sequence[str]) -> None:
    if both.any():
        i, j = np.argwhere(both)[0]
        raise BadInput(sentence.format(names[i], names[j]))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
