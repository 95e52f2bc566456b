"""Marks of a PAG that a share of graphs has, and circles in place of the others."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intaglio.causal.confounding.class_repair import Edges
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.graphs.marks import Mark
from intaglio.causal.results.latent_discovery import discovery_of, shared_marks
from intaglio.causal.tables.table import Table
from mixed_graphs import random_mixed
from small_graphs import named

COLLIDER = [("x", "-->", "a"), ("y", "-->", "a"), ("a", "-->", "b")]
CHAIN = [("x", "-->", "a"), ("a", "-->", "y"), ("a", "-->", "b")]


def edges_of(triples, names="xyab") -> Edges:
    made = ADMG.of(names, triples)
    return Edges(np.array(made.directed), np.array(made.bidirected))


def drawn(halves, least: float, known: Knowledge = Knowledge(), best=COLLIDER) -> set[str]:
    """The edges where one restart ended at x → a ← y, a → b, and halves of the rows at these graphs."""
    rows = np.random.default_rng(0).standard_normal((20, 4))
    table, constraints = (
        Table.from_frame(pd.DataFrame(rows, columns=list("xyab"))),
        known.constraints("xyab", hidden_causes=True),
    )
    given = ("spot", table, [(10.0, edges_of(best))], constraints, ())
    made = discovery_of(*given, resampled=[edges_of(half) for half in halves], least_share=least)
    return {str(edge) for edge in made.edges}


def test_marks_that_halves_of_the_rows_do_not_share_are_circles():
    """The restart has half of the weight, each of four halves an eighth: 7/8 of it speak for the collider."""
    whole, none = {"x o-> a", "y o-> a", "a --> b"}, {"x o-o a", "y o-o a", "a o-o b"}
    halves = [COLLIDER, COLLIDER, COLLIDER, CHAIN]
    assert drawn(halves, 0.0) == whole
    assert drawn(halves, 7 / 8) == whole
    assert drawn(halves, 0.88) == none
    assert drawn([COLLIDER] * 4, 1.0) == whole


def test_marks_that_are_known_are_never_circles():
    known = Knowledge(required=(("x", "a"),))
    assert "x --> a" in drawn([CHAIN, CHAIN], 1.0, known)


def test_the_shares_themselves_and_the_graph_without_hidden_causes_stay():
    rows = np.random.default_rng(0).standard_normal((20, 4))
    table = Table.from_frame(pd.DataFrame(rows, columns=list("xyab")))
    for hidden in (True, False):
        known = Knowledge().constraints("xyab", hidden_causes=hidden)
        plain, strict = (
            discovery_of(
                *("spot", table, [(10.0, edges_of(COLLIDER))], known, ()),
                resampled=[edges_of(CHAIN)],
                hidden_causes=hidden,
                least_share=least,
            )
            for least in (0.0, 1.0)
        )
        assert np.array_equal(plain.marks, strict.marks)
        assert np.array_equal(plain.adjacent, strict.adjacent)
        assert (plain.graph == strict.graph) is not hidden


@given(st.integers(0, 10_000), st.integers(2, 7), st.floats(0, 1))
def test_what_stays_is_the_pags_own_with_an_arrow_before_every_tail(seed, d, least):
    """Shares of any graphs that hold the PAG's own: no mark is new, the skeleton stays, no tail faces a circle."""
    random = np.random.default_rng(seed)
    pags = [ADMG(named(d), *random_mixed(random, d, 0.5)).mag().pag() for _ in range(4)]
    weights = random.dirichlet(np.ones(4))
    shares = np.zeros((d, d, 3))
    for pag, weight in zip(pags, weights, strict=True):
        for place, mark in enumerate((Mark.ARROW, Mark.TAIL, Mark.CIRCLE)):
            shares[..., place] += weight * (pag.marks == mark)
    shares /= np.maximum(shares.sum(-1, keepdims=True), 1e-12)
    found = shared_marks(pags[0], shares, least)
    assert isinstance(found, Graph)
    kept = found.marks == pags[0].marks
    assert (kept | (found.marks == Mark.CIRCLE)).all()
    assert np.array_equal(found.skeleton, pags[0].skeleton)
    assert not ((found.marks == Mark.TAIL) & (found.marks.T == Mark.CIRCLE)).any()
    for i, j in np.argwhere(found.marks == Mark.ARROW):
        assert shares[i, j, 0] == pytest.approx(max(shares[i, j, 0], least))
