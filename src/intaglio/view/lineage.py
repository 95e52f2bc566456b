"""Runs joined by what they were given: base, fine-tune, audit.

A run was made from another where a path among its inputs leads through a folder of that one's name, which a hash of its
settings and inputs ends, so that it holds in a moved or copied folder too; or where an input has the content of one
that is known to lie in such a folder.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from intaglio.view.index import RunEntry, RunInput

MODEL_ROLES = ("suspect", "model", "teacher", "model_0", "base", "flow", "table")
"""Inputs that a tree may begin with, the nearest to the run first."""
SHOWN_CHILDREN = 40
"""Runs below one node that are listed; the list of runs has all."""
SEPARATORS = re.compile(r"[/\\]")


@dataclass(frozen=True)
class Origin:
    """Something that runs began with and that no run of the folder made: a model, a table."""

    role: str
    path: str
    sha256: str

    @property
    def name(self) -> str:
        """The last words of its path."""
        parts = [part for part in SEPARATORS.split(self.path) if part]
        return "/".join(parts[-2:]) or "unnamed"


@dataclass
class TreeNode:
    """A run or an origin, with what was made from it."""

    entry: RunEntry | None
    origin: Origin | None = None
    also: list[tuple[str, RunEntry]] = field(default_factory=list)
    """Further runs that it was made from, with their roles."""
    children: list["TreeNode"] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Runs in the tree, this one included."""
        waiting, count = [self], 0
        while waiting:
            node = waiting.pop()
            count += node.entry is not None
            waiting += node.children
        return count

    @property
    def shown(self) -> Sequence["TreeNode"]:
        """The children that are listed."""
        return self.children[:SHOWN_CHILDREN]


class Lineage:
    """The trees of a folder's runs."""

    def __init__(self, entries: Sequence[RunEntry]):
        """`entries`: the newest first, which is the order within every tree."""
        self.entries = entries
        self.makers = _makers(entries)
        """For each run the runs that made its inputs, by role."""
        self._nodes = {entry.key: TreeNode(entry) for entry in entries}
        self._parents: dict[str, str] = {}
        self._origins: dict[str, TreeNode] = {}
        for entry in entries:
            self._place(entry)
        for entry in entries:
            self._attach(entry)

    def _place(self, entry: RunEntry) -> None:
        """Chooses the run that this one stands below; never one that stands below it, whatever their files say."""
        made = self.makers[entry.key]
        for role in sorted(made, key=_rank):
            parent: str | None = made[role].key
            above = parent
            while above is not None and above != entry.key:
                above = self._parents.get(above)
            if parent is not None and above is None:
                self._parents[entry.key] = parent
                return

    def _attach(self, entry: RunEntry) -> None:
        node, parent = self._nodes[entry.key], self._parents.get(entry.key)
        node.also = [(role, maker) for role, maker in self.makers[entry.key].items() if maker.key != parent]
        if parent is not None:
            self._nodes[parent].children.append(node)
            return
        first = min(
            (one for one in entry.inputs if one.role in MODEL_ROLES), key=lambda one: _rank(one.role), default=None
        )
        if first is not None:
            key = first.sha256 or first.path
            origin = TreeNode(None, Origin(first.role, first.path, first.sha256))
            self._origins.setdefault(key, origin).children.append(node)

    def trees(self) -> list[TreeNode]:
        """The trees, each below its origin, the one with the newest run first; runs that nothing joins are left out."""
        alone = [
            self._nodes[entry.key]
            for entry in self.entries
            if entry.key not in self._parents and self._nodes[entry.key].children and not self._has_origin(entry)
        ]
        return [*self._origins.values(), *alone]

    def _has_origin(self, entry: RunEntry) -> bool:
        return any(one.role in MODEL_ROLES for one in entry.inputs)

    def around(self, key: str) -> TreeNode | None:
        """The tree of one run: all that was made from it, below the one line that leads to it; None for no run."""
        node = self._nodes.get(key)
        if node is None or node.entry is None:
            return None
        tree, above = node, self._parents.get(key)
        while above is not None:
            upper = self._nodes[above]
            tree = TreeNode(upper.entry, upper.origin, upper.also, [tree])
            above = self._parents.get(above)
        top = tree.entry
        for origin in self._origins.values() if top is not None else ():
            if any(child.entry is top for child in origin.children):
                return TreeNode(None, origin.origin, [], [tree])
        return tree


def _rank(role: str) -> tuple[int, str]:
    return (MODEL_ROLES.index(role) if role in MODEL_ROLES else len(MODEL_ROLES), role)


def _makers(entries: Sequence[RunEntry]) -> Mapping[str, dict[str, RunEntry]]:
    by_name = {entry.folder.name: entry for entry in entries}
    found: dict[str, dict[str, RunEntry]] = {entry.key: {} for entry in entries}
    made: dict[str, RunEntry] = {}
    for entry in entries:
        for one in entry.inputs:
            maker = _through(one, by_name)
            if maker is not None and maker is not entry:
                found[entry.key][one.role] = maker
                if one.sha256:
                    made.setdefault(one.sha256, maker)
    for entry in entries:
        for one in entry.inputs:
            maker = made.get(one.sha256)
            if maker is not None and maker is not entry:
                found[entry.key].setdefault(one.role, maker)
    return found


def _through(one: RunInput, by_name: Mapping[str, RunEntry]) -> RunEntry | None:
    """The run whose folder a path leads through, the innermost."""
    return next((by_name[part] for part in reversed(SEPARATORS.split(one.path)) if part in by_name), None)
