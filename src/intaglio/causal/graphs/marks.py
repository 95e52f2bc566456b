"""Edge marks: their codes, kinds of graphs by the marks that they allow, and edges as signs such as `-->`."""

from enum import IntEnum
from typing import Literal

from intaglio.errors import BadInput


class Mark(IntEnum):
    """The mark at one end of an edge, with the codes of `amat.pag` in the R package pcalg."""

    NONE = 0
    """No edge."""
    CIRCLE = 1
    """An arrowhead in some members of the class and a tail in others."""
    ARROW = 2
    TAIL = 3


GraphKind = Literal["DAG", "CPDAG", "MPDAG", "MAG", "PAG"]
"""A DAG; its Markov equivalence class; that class with background knowledge; a MAG; its Markov equivalence class."""
GRAPH_KINDS: tuple[GraphKind, ...] = ("DAG", "CPDAG", "MPDAG", "MAG", "PAG")
ALLOWED_EDGES: dict[GraphKind, frozenset[tuple[Mark, Mark]]] = {
    "DAG": frozenset({(Mark.TAIL, Mark.ARROW)}),
    "CPDAG": frozenset({(Mark.TAIL, Mark.ARROW), (Mark.TAIL, Mark.TAIL)}),
    "MPDAG": frozenset({(Mark.TAIL, Mark.ARROW), (Mark.TAIL, Mark.TAIL)}),
    "MAG": frozenset({(Mark.TAIL, Mark.ARROW), (Mark.TAIL, Mark.TAIL), (Mark.ARROW, Mark.ARROW)}),
    "PAG": frozenset((a, b) for a in Mark for b in Mark if a and b),
}
"""The edges that each kind allows, with the two marks in either order."""
LEFT = {"<": Mark.ARROW, "-": Mark.TAIL, "o": Mark.CIRCLE}
RIGHT = {">": Mark.ARROW, "-": Mark.TAIL, "o": Mark.CIRCLE}


def sign_of(at_first: Mark, at_second: Mark) -> str:
    """The sign of an edge between its two variables: `-->`, `<->`, `o->`, `---`, `o-o` and so on."""
    left = {mark: sign for sign, mark in LEFT.items()}
    right = {mark: sign for sign, mark in RIGHT.items()}
    return f"{left[at_first]}-{right[at_second]}"


def parse_sign(sign: str) -> tuple[Mark, Mark]:
    """(mark at the first, mark at the second variable) of a sign as `sign_of` returns it, or of `->`, `<-` and `--`.

    Raises:
        BadInput: anything else.
    """
    full = {"->": "-->", "<-": "<--", "--": "---"}.get(sign, sign)
    if len(full) != 3 or full[0] not in LEFT or full[1] != "-" or full[2] not in RIGHT:
        raise BadInput(f"{sign!r} is no sign of an edge; write one such as -->, <->, ---, o-> or o-o")
    return LEFT[full[0]], RIGHT[full[2]]
