"""The PAG of a MAG: orientation rules R0 to R4 and R8 to R10 on matrices of marks.

The rules are those of J. Zhang, "On the completeness of orientation rules for causal discovery in the presence of
latent confounders and selection bias" (Artificial Intelligence 172, 2008), without R5 to R7, which speak of selection
alone. Colliders are looked up in the MAG, so no separating sets are needed. `marks[i, j]` is the mark at j.
"""

import numpy as np
from jaxtyping import Bool, Int8
from numpy import ndarray

from intaglio.causal.graphs.marks import Mark
from intaglio.causal.graphs.meek import apart
from intaglio.causal.graphs.paths import boolean_product

Marks = Int8[ndarray, "d d"]
NONE, CIRCLE, ARROW, TAIL = map(int, Mark)


def pag_marks(mag: Marks, known: Bool[ndarray, "d d"] | None = None) -> Marks:
    """The marks that all Markov equivalent MAGs share, and circles for the others.

    Args:
        mag: a MAG, or a DAG, which is one, without undirected edges.
        known: [i, j]: background knowledge has it that the mark at j is the one in `mag`. Such marks, and what the
            rules make of them, stand in the result too. The rules then are sound; whether they find all that follows
            is proved without knowledge only.
    """
    marks = np.where(mag != NONE, CIRCLE, NONE).astype(np.int8)
    rule_0(marks, mag)
    _close(marks, mag)
    if known is not None and (known & (marks == CIRCLE)).any():
        marks[known] = mag[known]
        _close(marks, mag)
    return marks


def _close(marks: Marks, mag: Marks) -> None:
    while (marks == CIRCLE).any():
        before = marks.copy()
        for rule in (rule_1, rule_2, rule_3, rule_4, rule_8, rules_9_and_10):
            rule(marks, mag)
        if np.array_equal(before, marks):
            return


def rule_0(marks: Marks, mag: Marks) -> None:
    """Rule 0: i *→ k ←* j for each unshielded collider of the MAG."""
    heads = mag == ARROW
    marks[heads & boolean_product(apart(mag != NONE), heads)] = ARROW


def rule_1(marks: Marks, mag: Marks) -> None:
    """Rule 1: a *→ b o–* c with a and c not adjacent gives b → c."""
    found = (marks == CIRCLE) & boolean_product(apart(marks != NONE), marks == ARROW)
    marks[found], marks[found.T] = TAIL, ARROW


def rule_2(marks: Marks, mag: Marks) -> None:
    """Rule 2: a → b *→ c or a *→ b → c, with a *–o c, gives a *→ c."""
    heads = marks == ARROW
    directed = heads & (marks.T == TAIL)
    marks[(marks == CIRCLE) & (boolean_product(directed, heads) | boolean_product(heads, directed))] = ARROW


def rule_3(marks: Marks, mag: Marks) -> None:
    """Rule 3: a *→ b ←* c, a *–o e o–* c with a and c not adjacent, and e *–o b, gives e *→ b."""
    away, circles, heads = apart(marks != NONE), marks == CIRCLE, marks == ARROW
    for e, b in np.argwhere(circles):
        legs = np.flatnonzero(heads[:, b] & circles[:, e])
        if away[np.ix_(legs, legs)].any():
            marks[e, b] = ARROW


def rule_4(marks: Marks, mag: Marks) -> None:
    """Rule 4: a discriminating path t, …, a, b, c for b, with b o–* c: a ↔ b ↔ c for a collider, else b → c."""
    for c, b in np.argwhere(marks == CIRCLE).tolist():
        if marks[c, b] != CIRCLE or (a := _discriminated_by(marks, b, c)) is None:
            continue
        if mag[a, b] == mag[c, b] == ARROW:
            marks[[a, b, b, c], [b, a, c, b]] = ARROW
        else:
            marks[c, b], marks[b, c] = TAIL, ARROW


def _discriminated_by(marks: Marks, b: int, c: int) -> int | None:
    """The variable a beside b on a shortest discriminating path t, …, a, b, c; None where there is none.

    t is not adjacent to c; each variable between t and b is a collider on the path and a parent of c.
    """
    parents = (marks[:, c] == ARROW) & (marks[c] == TAIL)
    return _reached_from_afar(marks, np.flatnonzero(parents & (marks[b] == ARROW)).tolist(), c)


def visible_edges(marks: Marks) -> Bool[ndarray, "d d"]:
    """[i, j]: i → j of a MAG or PAG is visible, so that the two have no hidden common cause besides.

    That is so where a path of colliders, all of them parents of j, leads with an arrow into i from a variable that is
    not adjacent to j (Zhang, "Causal reasoning with ancestral graphs", JMLR 9, 2008, definition 8).
    """
    found = (marks == ARROW) & (marks.T == TAIL)
    for i, j in np.argwhere(found).tolist():
        found[i, j] = _reached_from_afar(marks, [i], j) is not None
    return found


def _reached_from_afar(marks: Marks, starts: list[int], c: int) -> int | None:
    """The first of `starts` that a shortest path with an arrow into it reaches from a variable not adjacent to c.

    All between are colliders on the path and parents of c. None where there is no such path.
    """
    heads = marks == ARROW
    parents, far = heads[:, c] & (marks[c] == TAIL), marks[c] == NONE
    far[c] = False
    origin, frontier = {x: x for x in starts}, starts
    while frontier:
        following = []
        for x in frontier:
            if (heads[:, x] & far).any():
                return origin[x]
            fresh = [y for y in np.flatnonzero(heads[x] & heads[:, x] & parents).tolist() if y not in origin]
            origin.update(dict.fromkeys(fresh, origin[x]))
            following += fresh
        frontier = following
    return None


def rule_8(marks: Marks, mag: Marks) -> None:
    """Rule 8: a → b → c or a –o b → c, with a o→ c, gives a → c."""
    directed = (marks == ARROW) & (marks.T == TAIL)
    out = (marks.T == TAIL) & ((marks == ARROW) | (marks == CIRCLE))
    found = (marks == ARROW) & (marks.T == CIRCLE) & boolean_product(out, directed)
    marks[found.T] = TAIL


def rules_9_and_10(marks: Marks, mag: Marks) -> None:
    """Rules 9 and 10: a o→ c becomes a → c, by uncovered potentially directed paths from a.

    Rule 9: such a path leads from a to c, and its first variable is not adjacent to c. Rule 10: two such paths lead to
    parents of c, and their first variables differ and are not adjacent.
    """
    away = apart(marks != NONE)
    for a in np.flatnonzero(((marks == CIRCLE) & (marks.T == ARROW)).any(0)):
        firsts, reached = _uncovered_ends(marks, away, int(a))
        for c in np.flatnonzero((marks[:, a] == CIRCLE) & (marks[a] == ARROW)):
            parents = (marks[:, c] == ARROW) & (marks[c] == TAIL)
            to_parents = firsts[(reached & parents).any(1)]
            ninth = (reached[:, c] & away[firsts, c]).any()
            if ninth or away[np.ix_(to_parents, to_parents)].any():
                marks[c, a] = TAIL


def _uncovered_ends(marks: Marks, away: Bool[ndarray, "d d"], a: int) -> tuple[ndarray, Bool[ndarray, "k d"]]:
    """First variables of uncovered potentially directed walks from a, and which variables each first step leads to.

    No edge has an arrow at its earlier end or a tail at its later one; a variable's neighbours on the walk are not
    adjacent. Walks serve as well as paths: were a ↔ c in a MAG, each edge of the walk would point onward, and so a
    would be an ancestor of c.
    """
    onward = (marks != NONE) & (marks != TAIL) & (marks.T != ARROW)
    firsts = np.flatnonzero(onward[a])
    reached = np.zeros((len(firsts), len(marks)), bool)
    for row, first in zip(reached, firsts, strict=True):
        steps, frontier = {(a, int(first))}, [(a, int(first))]
        while frontier:
            before, at = frontier.pop()
            row[at] = True
            fresh = [(at, int(y)) for y in np.flatnonzero(onward[at] & away[before]) if (at, int(y)) not in steps]
            steps.update(fresh)
            frontier += fresh
    return firsts, reached
