"""The `Discovery` of a search with hidden causes: the PAG of its best graph, and the shares of all of them."""

from collections.abc import Sequence

import numpy as np

from intaglio.causal.confounding.class_repair import Edges
from intaglio.causal.confounding.restart_shares import (
    adjacency_shares,
    bic_weights,
    collider_shares,
    mark_shares,
    unshielded_triples,
)
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Constraints
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.table import Table

READING = (
    "Shares of the search's restarts, weighted by exp(-½ ΔBIC): how alike the graphs are that it ended with. They are "
    "no posterior probabilities, and near 0 or 1 wherever one graph is far better than the others."
)
CLOSE_BIC = 2.0
"""Difference of BIC below which two graphs count as equally good."""


def discovery_of(
    method: str, table: Table, found: Sequence[tuple[float, Edges]], known: Constraints, warnings: Sequence[str]
) -> Discovery:
    """The discovery over all columns of a table; those that were left out have no edges.

    Args:
        method: the method's name.
        table: the table that was searched.
        found: BIC and edges of each restart's graph, one at least, over the columns `table.names`.
        known: background knowledge; marks that follow from it stand in the PAG.
        warnings: sentences for the user.
    """
    told = known.required | known.required.T | known.forbidden.T
    pags = [_over_all(table, ADMG(table.names, one.directed, one.bidirected).mag().pag(told)) for _, one in found]
    bics = [bic for bic, _ in found]
    weights, best = bic_weights(bics), pags[int(np.argmin(bics))]
    rivals = [
        bic - min(bics) for bic, pag in zip(bics, pags, strict=True) if pag != best and bic - min(bics) < CLOSE_BIC
    ]
    triples = unshielded_triples(best)
    return Discovery(
        method=method,
        graph=best,
        adjacent=adjacency_shares(pags, weights),
        marks=mark_shares(pags, weights),
        triples=triples,
        colliders=collider_shares(pags, weights, triples),
        ood_score=float("nan"),
        duplicates=table.duplicates,
        isolated=table.isolated,
        warnings=(*warnings, *_rivals(rivals), *_lonely(bics, pags.count(best))),
        rows=len(table.values),
        reading=READING,
    )


def _over_all(table: Table, pag: Graph) -> Graph:
    places = [table.all_names.index(name) for name in table.names]
    marks = np.zeros((len(table.all_names),) * 2, np.int8)
    marks[np.ix_(places, places)] = pag.marks
    return Graph("PAG", table.all_names, marks)


def _rivals(gaps: Sequence[float]) -> tuple[str, ...]:
    if not gaps:
        return ()
    return (
        f"another graph fits all but as well (BIC higher by {min(gaps):.1f}): look at the shares of the marks, not "
        "at the drawing alone",
    )


def _lonely(bics: Sequence[float], alike: int) -> tuple[str, ...]:
    """A warning where one restart alone ended at the graph, or near its BIC: a better graph may not have been found."""
    if len(bics) == 1:
        return ("one restart says nothing of how alike several would be: every share is 0 or 1 (--restarts 5)",)
    gap = sorted(bics)[1] - min(bics)
    if alike > 1 or gap < CLOSE_BIC:
        return ()
    return (
        f"1 of {len(bics)} restarts alone found this graph (BIC of the next higher by {gap:.1f}), so there may be a "
        "better one, and shares near 0 or 1 say little: raise --restarts",
    )
