"""What holds of every causal discovery method; a method joins by its file and its own test."""

import numpy as np
import pandas as pd
import pytest

from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput
from rows import matrix

ROWS = [pytest.param(row, id=key) for key, row in matrix().items() if row.verb == "discover"]
every_discoverer = pytest.mark.parametrize("row", ROWS)


def made(row, **changes):
    return load(row.target)(**{**row.small, **changes})


def chain(rows=400):
    """a -> b -> c, all strong, and d by itself."""
    random = np.random.default_rng(0)
    a, d = random.standard_normal((2, rows))
    b = a + 0.5 * random.standard_normal(rows)
    return pd.DataFrame({"a": a, "b": b, "c": b + 0.5 * random.standard_normal(rows), "d": d})


@pytest.fixture(scope="module")
def found():
    """What a row finds in the chain, computed once: tests only read it."""
    known = {}

    def once(row):
        if row.key not in known:
            known[row.key] = made(row)(chain())
        return known[row.key]

    return once


@every_discoverer
def test_it_says_of_itself_what_reports_and_benches_need(row):
    kind = load(row.target)
    assert kind.name == row.method
    assert kind.role in ("method", "baseline")
    for weights in made(row).weights().values():
        assert set(weights) == {"path", "sha256"}


@every_discoverer
def test_a_strong_chain_is_found_and_what_stands_alone_is_left_alone(row, found):
    graph = found(row).graph
    adjacent = {frozenset((edge.source, edge.target)) for edge in found(row).edges}
    assert adjacent == {frozenset("ab"), frozenset("bc")}
    assert graph.names == ("a", "b", "c", "d")


@every_discoverer
def test_the_names_of_the_columns_do_not_matter(row, found):
    one, two = found(row), made(row)(chain().rename(columns=dict(zip("abcd", "wxyz", strict=True))))
    assert np.array_equal(one.graph.marks, two.graph.marks)
    assert two.graph.names == ("w", "x", "y", "z")


@every_discoverer
def test_knowledge_is_kept_to(row):
    known = Knowledge(required=(("a", "d"),), forbidden=(("a", "b"), ("b", "a")))
    edges = made(row)(chain(), knowledge=known).edges
    assert ("a", "d", "-->") in {(edge.source, edge.target, edge.mark) for edge in edges}
    # A hidden common cause is no arrow, so a method that knows of them may still join the two.
    assert {edge.mark for edge in edges if {edge.source, edge.target} == {"a", "b"}} <= {"<->"}


@every_discoverer
@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pd.DataFrame({"a": np.arange(30.0)}), "column"),
        (pd.DataFrame({"a": np.arange(30.0), "b": np.ones(30)}), "b"),
        (pd.DataFrame({"a": [1.0], "b": [2.0]}), "row"),
    ],
)
def test_a_table_that_cannot_be_searched_is_refused_by_name(row, table, words):
    with pytest.raises(BadInput, match=words):
        made(row)(table)
