"""The `Discovery` of a search from many starts: the class of its best graph, and the shares of all graphs."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.confounding.class_repair import Edges
from intaglio.causal.confounding.restart_shares import (
    SHARED_MARKS,
    adjacency_shares,
    arrow_shares,
    bic_weights,
    collider_shares,
    mark_shares,
    unshielded_triples,
)
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Constraints
from intaglio.causal.graphs.marks import Mark
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.table import Table

READING = (
    "Shares of the search's restarts, weighted by exp(-½ ΔBIC): how alike the graphs are that it ended with. They are "
    "no posterior probabilities, and near 0 or 1 wherever one graph is far better than the others."
)
CLOSE_BIC = 2.0
"""Difference of BIC below which two graphs count as equally good."""
POSTERIOR_READING = (
    "Probabilities of adjacency are those of the skeleton posterior, calibrated on simulated tables; an edge below one "
    "half is drawn where the rows' likelihood outweighs it. Marks are shares of the search's graphs, {of}: how stable "
    "they are, and no posterior probabilities. Where these graphs disagree over a mark of a PAG, it is drawn as a "
    "circle."
)
OF_BOTH = "half of them of its restarts, weighted by exp(-½ ΔBIC), half of its graphs of random halves of the rows"
OF_RESTARTS = "of its restarts alone, weighted by exp(-½ ΔBIC)"
ROUNDING = 1e-9
"""What shares may fall short of by rounding alone."""


def discovery_of(
    method: str,
    table: Table,
    found: Sequence[tuple[float, Edges]],
    known: Constraints,
    warnings: Sequence[str],
    *,
    posterior: Float64[ndarray, "k k"] | None = None,
    resampled: Sequence[Edges] = (),
    hidden_causes: bool = True,
    least_share: float = 0.0,
) -> Discovery:
    """The discovery over all columns of a table; those that were left out have no edges.

    Args:
        method: the method's name.
        table: the table that was searched.
        found: score, in units of BIC, and edges of each restart's graph, one at least, over the columns `table.names`.
        known: background knowledge; marks that follow from it stand in the graph.
        warnings: sentences for the user.
        posterior: probability that each pair of `table.names` is adjacent; None takes the shares of the graphs.
        resampled: edges of the graphs of resampled rows.
        hidden_causes: whether the graph is a PAG; else a CPDAG, or an MPDAG where knowledge says more.
        least_share: share below which a mark of the PAG is drawn as a circle; 0 draws the PAG of the best graph.
    """
    each = [_class_of(table, edges, known, hidden_causes) for edges in [*(one for _, one in found), *resampled]]
    bics, graphs = [bic for bic, _ in found], each[: len(found)]
    best = graphs[int(np.argmin(bics))]
    rivals = [
        bic - min(bics) for bic, one in zip(bics, graphs, strict=True) if one != best and bic - min(bics) < CLOSE_BIC
    ]
    weights = bic_weights(bics)
    if resampled:
        weights = np.concatenate([weights / 2, np.full(len(resampled), 0.5 / len(resampled))])
    shares = (mark_shares if hidden_causes else arrow_shares)(each, weights)
    triples = unshielded_triples(best)
    return Discovery(
        method=method,
        graph=shared_marks(best, shares, least_share) if hidden_causes else best,
        adjacent=adjacency_shares(each, weights) if posterior is None else _over_all(table, posterior),
        marks=shares,
        triples=triples,
        colliders=collider_shares(each, weights, triples),
        ood_score=float("nan"),
        duplicates=table.duplicates,
        isolated=table.isolated,
        warnings=(*warnings, *_rivals(rivals), *_lonely(bics, graphs.count(best))),
        rows=len(table.values),
        reading=READING if posterior is None else POSTERIOR_READING.format(of=OF_BOTH if resampled else OF_RESTARTS),
    )


def shared_marks(pag: Graph, shares: Float64[ndarray, "d d 3"], least: float) -> Graph:
    """The marks of a PAG that a share of graphs has; a circle, which claims neither arrowhead nor tail, for the others.

    A tail is shared by no more graphs than the arrowhead at the other end of its edge, so none is left beside a circle.

    Args:
        pag: the PAG.
        shares: [i, j]: shares of an arrowhead, a tail and a circle at j, as of `mark_shares`.
        least: least share of a mark that stays, in [0, 1].
    """
    own = np.stack([pag.marks == mark for mark in SHARED_MARKS], -1)
    loose = pag.skeleton & ((shares * own).sum(-1) < least - ROUNDING)
    return Graph("PAG", pag.names, np.where(loose, Mark.CIRCLE, pag.marks).astype(np.int8))


def _class_of(table: Table, edges: Edges, known: Constraints, hidden_causes: bool) -> Graph:
    if hidden_causes:
        told = known.required | known.required.T | known.forbidden.T
        pag = ADMG(table.names, edges.directed, edges.bidirected).mag().pag(told)
        return Graph("PAG", table.all_names, _over_all(table, pag.marks))
    made = Graph.from_adjacency("DAG", _over_all(table, edges.directed), table.all_names).cpdag()
    further = np.argwhere(known.oriented(edges.directed | edges.directed.T) & edges.directed).tolist()
    return made.with_knowledge((table.names[i], table.names[j]) for i, j in further) if further else made


def _over_all(table: Table, inner: ndarray) -> ndarray:
    """A matrix over the columns that were searched, over all columns; 0 elsewhere."""
    places = [table.all_names.index(name) for name in table.names]
    found = np.zeros((len(table.all_names),) * 2, inner.dtype)
    found[np.ix_(places, places)] = inner
    return found


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
