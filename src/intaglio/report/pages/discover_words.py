"""Words of the page of a found graph, for a class of DAGs and for a PAG: what its marks mean and what is assumed."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from intaglio.causal.results import text
from intaglio.causal.results.discovery import Discovery
from intaglio.report.kit.views import Row


@dataclass(frozen=True)
class GraphWords:
    """Words that depend on whether hidden common causes are allowed for."""

    lead: str
    """Follows the sentence that names the graph."""
    marks: Sequence[Row]
    """The lines of the drawing and their meanings; `LINES` follow where it has probabilities."""
    shares: Sequence[Row]
    """CSS classes of the pieces of a bar of marks, and their meanings."""
    edges: str
    """The columns of the table of edges."""
    limits: Sequence[Row]
    """What is assumed."""


HEADS = {"<": '<path d="M9 1L1 5L9 9z" class="tip"/>', ">": '<path d="M25 1L33 5L25 9z" class="tip"/>'}
RING = '<circle cx="{}" cy="5" r="3.4" class="ring"/>'


def _drawn(sign: str, line: str = "") -> Markup:
    """The line of an edge's sign, such as `o->`, as a small picture; `line` is attributes of the line."""
    left, right = (1 if sign[0] == "-" else 6), (33 if sign[-1] == "-" else 28)
    parts = [f'<path d="M{left} 5H{right}" class="stroke"{line}/>']
    parts += [HEADS[mark] for mark in sign if mark in HEADS]
    parts += [RING.format(x) for x, mark in ((4.5, sign[0]), (29.5, sign[-1])) if mark == "o"]
    css = Markup(' class="both"') if sign == "<->" else ""
    return Markup('<svg viewBox="0 0 34 10"{}>{}</svg>').format(css, Markup("".join(parts)))


LINES = (
    Row("probability 0.9 or more", _drawn("---", ' style="stroke-width:2.4"')),
    Row("0.5 to 0.9", _drawn("---", ' opacity=".85"')),
    Row("0.1 to 0.5", _drawn("---", ' stroke-dasharray="5 4" opacity=".7"')),
    Row("below 0.1", _drawn("---", ' stroke-dasharray="1.5 4" opacity=".5"')),
)
"""Lines of edges by their probability, as `causal/formats/svg.py` draws them."""
NO_CYCLES = Row(
    "No cycles",
    "Feedback within the time between two rows has no place in these graphs; it shows as some edge or other.",
)
FAITHFULNESS = Row(
    "Faithfulness", "Effects that cancel each other exactly, and columns that are functions of others, hide edges."
)
ONE_LAW = Row(
    "Independent rows of one law",
    "Time series, several groups in one table, rows that were selected by an effect: all of these make edges that "
    "are no causes. What of this the table itself shows is said in a warning.",
)
NO_STRENGTH = Row(
    "A probability is no strength",
    "A sure edge can be a weak effect. How strong it is must be estimated afterwards, with this graph as an input.",
)
DAG_CLASS = GraphWords(
    lead=(
        "An arrow is a cause in every graph of the class; a line is an edge whose direction the data cannot tell. Both "
        "hold only as far as the assumptions below."
    ),
    marks=(
        Row("a cause of the other, in every graph that fits", _drawn("-->")),
        Row("adjacent; either could be the cause, the data cannot tell", _drawn("---")),
    ),
    shares=(Row("as the row reads", "forward"), Row("either way fits", "open"), Row("the other way round", "backward")),
    edges=(
        "The most probable first. Adjacent: the probability that there is an edge at all. This mark: given that there "
        "is one, that it has the direction, or the openness, that is drawn. Confidence is the least of the row."
    ),
    limits=(
        Row(
            "No hidden common causes",
            "Two columns with a common cause outside the table look adjacent, and arrows near them can be wrong. Where "
            "that is likely, `intaglio discover TABLE --latent` allows for it.",
        ),
        NO_CYCLES,
        FAITHFULNESS,
        ONE_LAW,
        Row(
            "A line is not doubt about the edge",
            "It says that graphs with either direction give the same data. More rows do not settle it; knowledge or an "
            "experiment does (--require, --forbid, --tiers).",
        ),
        NO_STRENGTH,
    ),
)
PAG = GraphWords(
    lead=(
        "It allows for causes that are in no column. A tail at a column says that it is a cause of the other, an "
        "arrowhead that it is none, a ring that the data cannot tell. All of it holds only as far as the assumptions "
        "below."
    ),
    marks=(
        Row(
            "a → b: a is a cause of b, at once or by way of others; a hidden cause of both may add to it", _drawn("-->")
        ),
        Row("a ↔ b: neither is a cause of the other; a hidden cause of both joins them", _drawn("<->")),
        Row("a ○→ b: b is no cause of a; a is a cause of b, or a hidden cause joins them, or both", _drawn("o->")),
        Row(
            "a ○–○ b: adjacent; one is a cause of the other, or a hidden cause joins them, or both; the data cannot "
            "tell which",
            _drawn("o-o"),
        ),
    ),
    shares=(
        Row("an arrowhead: no cause", "forward"),
        Row("a ring: the data cannot tell", "open"),
        Row("a tail: a cause", "backward"),
    ),
    edges=(
        "The most probable first. Adjacent: that there is an edge at all. Marks: given that there is one, that the "
        "mark at its first and at its second column is the one that is drawn; the bars have the same order. Confidence "
        "is the least of the row. Visible: beside this arrow no hidden cause of both can act."
    ),
    limits=(
        Row(
            "Linear effects, errors near to normal",
            "Curved effects that rise or fall throughout, and heavy tails, mostly leave the adjacencies, but not "
            "always the marks; a curve that turns, such as a square, can be missed. Heavy tails are told in a warning.",
        ),
        NO_CYCLES,
        FAITHFULNESS,
        Row(
            "No selection",
            "Rows that were chosen by an effect of two columns join them; these graphs have no edge for that.",
        ),
        ONE_LAW,
        Row(
            "A ring is not doubt about the edge",
            "It says that graphs with either mark give the same data. More rows do not settle it; knowledge or an "
            "experiment does (--require, --forbid, --tiers).",
        ),
        Row(
            "A cause may be confounded besides",
            "Beside a → b a hidden cause of both may act, but for the arrows marked as visible: there it would show.",
        ),
        NO_STRENGTH,
    ),
)


def contradictions_row(found: Discovery) -> Row:
    """The evidence that was left out because it contradicts other evidence, as a row."""
    told = text.contradicted(found.conflicts, found.fallback, tested=found.changes is not None)
    return Row("Contradictions", told or "none")


def words_of(kind: str) -> GraphWords:
    """The words for a kind of graph."""
    return PAG if kind == "PAG" else DAG_CLASS
