"""`Discovery`: the graph that a method found in a table, with its probabilities; views of it, files, other packages."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from jaxtyping import Float64, Int
from numpy import ndarray

from intaglio.causal.formats import packages
from intaglio.causal.formats.graph_texts import to_dagitty, to_dot
from intaglio.causal.formats.matrices import to_pcalg_matrix
from intaglio.causal.formats.svg import to_svg
from intaglio.causal.graphs import meek
from intaglio.causal.graphs.distances import Comparison, PagComparison, compare, compare_pags
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark, sign_of
from intaglio.causal.graphs.pag import visible_edges
from intaglio.causal.results import changes_text, result_files, text
from intaglio.causal.results.changes import Changes
from intaglio.causal.results.graph_json import ARRAYS, field_values, plain_values
from intaglio.causal.results.records import END_COLUMNS, EdgeRecord, FoundEdge, FoundPagEdge, FoundPair, FoundTriple
from intaglio.errors import BadInput
from intaglio.images.notebook import result_html

FORWARD, BACKWARD, REVERSIBLE = range(3)
"""Indices on the last axis of `Discovery.marks`; that of `frequencies` has "no edge" before them."""
MARK_COLUMNS = ("p_forward", "p_backward", "p_undirected")
"""Names of the columns of `Discovery.mark_frame`, in the order of the last axis of `Discovery.marks`."""


@dataclass(frozen=True, eq=False)
class Discovery:
    """A causal graph over the columns of a table, with probabilities. Arrays are read-only, in the order of `names`.

    Raises:
        ValueError: arrays that do not fit the graph, or probabilities outside [0, 1].
    """

    method: str
    """Name of the method, such as `sicl`."""
    graph: Graph
    """A CPDAG, or an MPDAG where knowledge was given, or a PAG, over all columns of the input in their order."""
    adjacent: Float64[ndarray, "d d"]
    """Probability in [0, 1] that the pair is adjacent, in the sense of `reading`; symmetric, 0 on the diagonal."""
    marks: Float64[ndarray, "d d 3"]
    """Probabilities given adjacency of the mark at j: an arrow, a tail, either of them in graphs of the class. Without
    hidden causes these are: i → j compelled, j → i compelled, reversible."""
    triples: Int[ndarray, "t 3"]
    """Unshielded triples of the graph: (centre, leg, leg), as indices into `names`."""
    colliders: Float64[ndarray, "t"]
    """Calibrated probability in [0, 1] that the triple is a collider."""
    spread: Float64[ndarray, "d d"] | None = None
    """Standard deviation of `adjacent` over subsamples; None without subsamples."""
    frequencies: Float64[ndarray, "d d 4"] | None = None
    """Share of subsamples whose graph has no edge, i → j, j → i, i — j; None without subsamples and for a PAG."""
    conflicts: int = 0
    """Colliders that were probable and yet left out, because they contradicted more probable ones."""
    fallback: bool = False
    """Whether no DAG had all the accepted colliders, so that one was searched for."""
    ood_score: float = 0.0
    """Probability, in [0, 1], that the graph is worse than the empty graph: that more of its pairs differ from the
    truth (SHD). The network's own graph is judged, with what is done about broken assumptions or without, whichever is
    the more doubtful. In its place stands, for a network that has not learnt it and for a table far outside of the
    training tables, the share of the table's features outside of their range; the reasons then say so. NaN where it is
    not known."""
    ood_reasons: tuple[str, ...] = ()
    """Features outside the range, contradicted assumptions, and what else speaks against the graph, in words."""
    duplicates: tuple[tuple[str, ...], ...] = ()
    """Groups of columns with the same content; the first of a group stands for it, the others have no edges."""
    isolated: tuple[str, ...] = ()
    """Constant columns, which have no edges."""
    warnings: tuple[str, ...] = ()
    """Sentences on what may be wrong with the table or the result."""
    rows: int = 0
    """Rows that were used."""
    seconds: float = 0.0
    """Wall-clock time of the search."""
    reading: str = text.CALIBRATED
    """What the probabilities are, in a sentence."""
    changes: Changes | None = None
    """Mechanisms that change with a context, where the method looks for them. It decides by tests, so that all
    probabilities of this discovery are 0 or 1."""

    def __post_init__(self):
        d, t = len(self.graph), len(np.asarray(self.triples))
        shapes = {
            "adjacent": (d, d),
            "marks": (d, d, 3),
            "triples": (t, 3),
            "colliders": (t,),
            "spread": (d, d),
            "frequencies": (d, d, 4),
        }
        for name, shape in shapes.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _checked(name, value, shape))
        if not np.array_equal(self.adjacent, self.adjacent.T) or np.diagonal(self.adjacent).any():
            raise ValueError("adjacent must be symmetric with zeros on its diagonal")
        if self.graph.kind == "PAG" and self.frequencies is not None:
            raise ValueError("frequencies are those of a class of DAGs; a PAG has other marks")
        if t and not (self.triples.min() >= 0 and self.triples.max() < d):
            raise ValueError(f"triples must hold indices of the {d} variables")

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of the input, in their order."""
        return self.graph.names

    @cached_property
    def edges(self) -> tuple[EdgeRecord, ...]:
        """One for each adjacent pair, in the order of the names."""
        return tuple(self._edge(edge.first, edge.second) for edge in self.graph.edges)

    def _edge(self, source: str, target: str) -> EdgeRecord:
        i, j = self.names.index(source), self.names.index(target)
        return self._pag_edge(i, j) if self.graph.kind == "PAG" else self._dag_edge(i, j)

    def _dag_edge(self, i: int, j: int) -> FoundEdge:
        directed = bool(self.graph.directed[i, j])
        return FoundEdge.of(
            (self.names[i], "-->" if directed else "---", self.names[j]),
            float(self.adjacent[i, j]),
            self.marks[i, j].tolist(),
            None
            if self.frequencies is None
            else float(self.frequencies[i, j, 1 + (FORWARD if directed else REVERSIBLE)]),
            None if self.spread is None else float(self.spread[i, j]),
        )

    def _pag_edge(self, i: int, j: int) -> FoundPagEdge:
        sign = sign_of(Mark(self.graph.marks[j, i]), Mark(self.graph.marks[i, j]))
        return FoundPagEdge.of(
            (self.names[i], sign, self.names[j]),
            float(self.adjacent[i, j]),
            [*self.marks[j, i].tolist(), *self.marks[i, j].tolist()],
            bool(self._visible[i, j]),
            None if self.spread is None else float(self.spread[i, j]),
        )

    @cached_property
    def _visible(self) -> ndarray:
        return visible_edges(self.graph.marks)

    @property
    def edge_record(self) -> type[EdgeRecord]:
        """The class of the records in `edges`."""
        return FoundPagEdge if self.graph.kind == "PAG" else FoundEdge

    @cached_property
    def triple_records(self) -> tuple[FoundTriple, ...]:
        """One for each unshielded triple, the most probable collider first."""
        found = []
        for (k, i, j), p in zip(self.triples.tolist(), self.colliders.tolist(), strict=True):
            collider = bool(self.graph.marks[i, k] == self.graph.marks[j, k] == Mark.ARROW)
            found.append(FoundTriple(self.names[k], self.names[i], self.names[j], p, collider))
        return tuple(sorted(found, key=lambda triple: -triple.p_collider))

    def near_misses(self, least: float = 0.05) -> tuple[FoundPair, ...]:
        """Pairs without an edge whose probability of adjacency is at least `least`, the most probable first.

        With the edges they are the candidates that a search by another package may be restricted to.
        """
        pairs = np.argwhere(np.triu(~self.graph.skeleton & (self.adjacent >= least), 1))
        found = [FoundPair(self.names[i], self.names[j], float(self.adjacent[i, j])) for i, j in pairs]
        return tuple(sorted(found, key=lambda pair: -pair.p_adjacent))

    def summary(self, *, warnings: bool = True) -> str:
        """The graph in lines of text: its edges with their probabilities, then notes and, if wanted, warnings."""
        if self.changes is None:
            table, first = text.edge_lines(self.edges), text.edge_notes(self.edges, self.reading)
        else:
            table, first = (
                changes_text.edge_lines(self.edges, self.changes),
                changes_text.notes(self.edges, self.changes),
            )
        notes = (
            *first,
            text.near_misses(self.near_misses()),
            text.left_out(self.isolated, self.duplicates),
            text.improbable_marks(self.edges),
            text.knowledge_note(self.graph) if self.changes is None else "",
            text.contradictions(self.conflicts, self.fallback, tested=self.changes is not None),
            text.out_of_distribution(self.ood_score, self.ood_reasons),
        )
        lines = [text.headline(self.graph, self.edges, self.method, self.rows, self.seconds), ""]
        lines += [*table, ""] if table else []
        lines += [note for note in notes if note]
        lines += [f"Warning: {warning}" for warning in self.warnings if warnings]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        """The drawing and the edges, for notebooks."""
        heading = text.headline(self.graph, self.edges, self.method, self.rows, self.seconds)
        return result_html(heading, {}, self.to_frame().to_dict("records"), drawing=self.to_svg())

    def to_frame(self) -> pd.DataFrame:
        """A row per edge, with the fields of `FoundEdge`, or of `FoundPagEdge` for a PAG."""
        return _frame(self.edges, self.edge_record)

    def adjacency_frame(self) -> pd.DataFrame:
        """0 and 1 [d, d] as pgmpy has it: i → j is 1 in row i alone, i — j is 1 in both rows.

        For a PAG, row i and column j have the `Mark` at j, as pcalg has it: 0 no edge, 1 circle, 2 arrow, 3 tail.
        """
        return self._square(self.graph.marks if self.graph.kind == "PAG" else self.graph.adjacency.astype(int))

    def skeleton_frame(self) -> pd.DataFrame:
        """`adjacent` [d, d] under the names of the variables."""
        return self._square(self.adjacent)

    def collider_frame(self) -> pd.DataFrame:
        """A row per unshielded triple: centre, leg1, leg2, p_collider, collider."""
        return _frame(self.triple_records, FoundTriple)

    def mark_frame(self) -> pd.DataFrame:
        """A row per pair, given that it is adjacent: first, second, p_forward, p_backward, p_undirected.

        Forward is from the first to the second. For a PAG the probabilities are those of `END_COLUMNS` at the first and
        then at the second: p_first_arrow, p_first_tail, p_first_circle, p_second_arrow, p_second_tail, p_second_circle.
        """
        first, second = np.triu_indices(len(self.names), 1)
        columns, shares = list(MARK_COLUMNS), self.marks[first, second]
        if self.graph.kind == "PAG":
            columns = [f"p_{end}_{mark}" for end in ("first", "second") for mark in END_COLUMNS]
            shares = np.concatenate([self.marks[second, first], shares], 1)
        frame = pd.DataFrame(shares, columns=columns)
        frame.insert(0, "first", [self.names[i] for i in first])
        frame.insert(1, "second", [self.names[j] for j in second])
        return frame

    def _square(self, matrix: ndarray) -> pd.DataFrame:
        return pd.DataFrame(matrix, index=list(self.names), columns=list(self.names))

    def to_networkx(self) -> nx.DiGraph:
        """A DiGraph as `packages.to_networkx` makes it, with the numbers of the edge's record on each arc.

        On both arcs of an edge with equal marks the record is that of the arc's own direction.
        """
        made = packages.to_networkx(self.graph)
        made.graph["method"] = self.method
        for a, b, attributes in made.edges(data=True):
            attributes |= {key: value for key, value in asdict(self._edge(a, b)).items() if isinstance(value, float)}
        return made

    def to_pgmpy(self) -> Any:
        """Pgmpy's `PDAG`. Raises `BadInput` for a PAG, and `IntaglioError` where pgmpy is not installed."""
        return packages.to_pgmpy(self.graph)

    def to_causallearn(self) -> Any:
        """causal-learn's `GeneralGraph`. Raises `IntaglioError` where causal-learn is not installed."""
        return packages.to_causallearn(self.graph)

    def to_pcalg(self) -> Int[ndarray, "d d"]:
        """The `amat.cpdag` of the R package pcalg, its `amat.pag` for a PAG."""
        return to_pcalg_matrix(self.graph)

    def sample_dag(self, seed: int = 0) -> Graph:
        """A random DAG of the class; each of them can come, though not each equally often.

        Undirected edges are oriented one at a time, either way, with Meek's four rules after each: by theorem 4 of
        C. Meek (UAI 1995) every such choice has a DAG.

        Raises:
            BadInput: a PAG, which stands for no DAG of the columns alone.
        """
        self.graph.require_dags()
        random = np.random.default_rng(seed)
        directed, undirected = self.graph.directed.copy(), self.graph.undirected.copy()
        while undirected.any():
            i, j = random.permutation(random.permutation(np.argwhere(np.triu(undirected)))[0])
            directed[i, j], undirected[i, j], undirected[j, i] = True, False, False
            directed, undirected = meek.closure(directed, undirected, knowledge=True)
        return Graph.from_adjacency("DAG", directed, self.names)

    def score(self, truth: Graph) -> Comparison | PagComparison:
        """SHD and the F1 of skeleton, orientation and colliders against the true DAG or its class.

        Where mechanisms change, every direction of a true DAG can be told, and each is asked for.

        For a PAG: SHD of pairs and of marks and the F1 of skeleton, edges, arrowheads and tails, against a DAG or MAG,
        whose further variables are hidden, or a PAG.

        Raises:
            BadInput: a graph over other variables, or of a kind that the result cannot be compared with.
        """
        if self.changes is not None and truth.kind == "DAG":
            return compare(Graph("MPDAG", truth.names, truth.marks), self.graph)
        return compare_pags(truth, self.graph) if self.graph.kind == "PAG" else compare(truth, self.graph)

    def to_svg(self, links: Mapping[tuple[str, str], str] | None = None) -> str:
        """The drawing of the graph as SVG, with the probability of adjacency on each edge, where it is one.

        `links` are addresses that edges lead to, by their two names, for a drawing within a page.
        """
        if self.changes is not None:
            return to_svg(self.graph, links=links)
        return to_svg(self.graph, {(edge.source, edge.target): edge.p_adjacent for edge in self.edges}, links)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, every number exact; NaN becomes None."""
        return plain_values({field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Discovery":
        """The discovery that `to_dict` was called on.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it is no discovery. BadInput: its graph is none.
        """
        return cls(**field_values(plain))

    def to_files(self) -> dict[str, str]:
        """The text of each file that `save` writes, by the file's name."""
        return {
            result_files.GRAPH_FILE: json.dumps(self.to_dict(), ensure_ascii=False) + "\n",
            "edges.csv": result_files.edges_csv(self.edges, self.edge_record, self.graph),
            "colliders.csv": result_files.triples_csv(self.triple_records),
            "graph.gml": "\n".join(nx.generate_gml(self.to_networkx())) + "\n",
            "graph.dot": to_dot(self.graph),
            "graph.dagitty.txt": to_dagitty(self.graph),
            "graph.svg": self.to_svg(),
        }

    def save(self, folder: Path) -> None:
        """Writes the files of `to_files` into a folder, all or none; `intaglio.causal.results.result_files` lists them.

        Raises:
            BadInput: the folder holds something else. IntaglioError: the disk refuses.
        """
        result_files.write_folder(folder, self.to_files())

    @classmethod
    def load(cls, folder: Path) -> "Discovery":
        """The discovery that was saved in a folder, or in one `graph.json`, every number the same.

        Raises:
            BadInput: there is none, or it is damaged.
        """
        path = Path(folder) / result_files.GRAPH_FILE if Path(folder).is_dir() else Path(folder)
        plain = result_files.read_json(path)
        try:
            return cls.from_dict(plain)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else f"is damaged ({error})"
            raise BadInput(f"{path} {what}; run the search again") from error


def _checked(name: str, value: ndarray, shape: tuple[int, ...]) -> ndarray:
    kept = np.array(value, ARRAYS[name])
    if kept.shape != shape:
        raise ValueError(f"{name} must have the shape {list(shape)}, not {list(kept.shape)}")
    if name != "triples" and not ((kept >= 0) & (kept <= 1)).all():
        raise ValueError(f"{name} must lie between 0 and 1")
    kept.setflags(write=False)
    return kept


def _frame(records: Sequence[EdgeRecord] | Sequence[FoundTriple], kind: type[EdgeRecord | FoundTriple]) -> pd.DataFrame:
    return pd.DataFrame([asdict(record) for record in records], columns=[field.name for field in fields(kind)])
