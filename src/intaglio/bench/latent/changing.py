"""CD-NOD on simulated tables whose mechanisms change, beside PC with guessed directions and causal-learn's CD-NOD.

The figures of a method are pooled over tables: precision and recall of directed edges against the true DAG, F1 of the
skeleton and of the changing mechanisms, and seconds a table.
"""

import contextlib
import importlib.util
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.causal.graphs.distances import Overlap
from intaglio.causal.graphs.paths import causal_order
from intaglio.causal.methods.cd_nod.method import CDNOD
from intaglio.causal.simulate.random_dags import erdos_renyi
from intaglio.randomness import numpy_generator

CONTEXT = "context"
Change = Literal["mean", "scale", "slope"]
CHANGES: tuple[Change, ...] = ("mean", "scale", "slope")
DRIFT_WIDTH = 0.06
"""Correlation length of a smooth drift, as a share of the whole time."""
Pair = tuple[int, int]


@dataclass(frozen=True)
class ChangingCell:
    """One kind of table: size, context, and the share of mechanisms that change."""

    variables: int = 5
    rows: int = 400
    domains: int = 10
    """Domains of equal size; 0 for a smooth drift over time."""
    share: float = 0.6
    """Probability in [0, 1] that a mechanism changes."""

    @property
    def key(self) -> str:
        """The cell in a few words."""
        context = f"{self.domains} domains" if self.domains else "drift"
        return f"{self.variables} variables, {self.rows} rows, {context}, {self.share:.0%} changing"


@dataclass(frozen=True, eq=False)
class ChangingTable:
    """A simulated table with its causes and its changing mechanisms."""

    values: Float[ndarray, "n d"]
    context: Float[ndarray, "n"]
    """Numbers of domains, or times."""
    is_time: bool
    dag: Bool[ndarray, "d d"]
    changing: frozenset[int]

    @property
    def frame(self) -> pd.DataFrame:
        """The columns x0, x1, … and the context."""
        columns = {f"x{k}": column for k, column in enumerate(self.values.T)}
        return pd.DataFrame({**columns, CONTEXT: self.context})


@dataclass(frozen=True)
class ChangingAnswer:
    """A method's graph of one table."""

    directed: frozenset[Pair]
    undirected: frozenset[frozenset[int]]
    changing: frozenset[int] | None
    """None for a method that does not look for changes."""
    seconds: float = 0.0

    @property
    def skeleton(self) -> frozenset[frozenset[int]]:
        """Adjacent pairs."""
        return self.undirected | {frozenset(pair) for pair in self.directed}


def simulated_table(cell: ChangingCell, seed: int) -> ChangingTable:
    """A table of a random DAG with an edge a variable on average, whose changing mechanisms have drives of their own.

    An effect is Σ slope · f(cause) + mean + scale · noise with f the identity or tanh; a changing mechanism has one of
    its mean, the logarithm of its scale, or its slopes driven (the slopes only where it has causes). Domains draw a
    drive anew each, from N(0, 1); a drift is a Gaussian process. Columns are standardised at the end.
    """
    random = numpy_generator(seed, cell.variables, cell.rows, cell.domains, round(100 * cell.share))
    d, n = cell.variables, cell.rows
    dag = erdos_renyi(random, 1, d, (1.0,))[0]
    drives = _drives(cell, random)
    changing = frozenset(np.flatnonzero(random.random(d) < cell.share).tolist())
    values = np.zeros((n, d))
    for k in causal_order(dag):
        causes = np.flatnonzero(dag[:, k])
        ways = CHANGES if causes.size else CHANGES[:2]
        way = ways[random.integers(len(ways))] if k in changing else None
        drive = next(drives)
        curved = random.random(causes.size) < 0.5
        slopes = random.uniform(0.7, 1.2, causes.size) * random.choice([-1, 1], causes.size)
        effects = np.where(curved, 2 * np.tanh(values[:, causes]), values[:, causes]) @ slopes
        scale = np.exp(0.7 * drive) if way == "scale" else np.ones(n)
        steeper = 1 + 0.7 * drive if way == "slope" else np.ones(n)
        mean = 1.2 * drive if way == "mean" else np.zeros(n)
        values[:, k] = steeper * effects + mean + 0.6 * scale * random.standard_normal(n)
        values[:, k] = (values[:, k] - values[:, k].mean()) / values[:, k].std()
    context = np.arange(n) * cell.domains // n if cell.domains else np.arange(n)
    return ChangingTable(values, context.astype(np.float64), not cell.domains, dag, changing)


def _drives(cell: ChangingCell, random: np.random.Generator) -> Iterator[Float[ndarray, "n"]]:
    """Independent drives [n] over the rows, of mean 0 and variance 1."""
    n = cell.rows
    grid = np.linspace(0, 1, 120)
    roots = np.linalg.cholesky(np.exp(-((grid[:, None] - grid) ** 2) / (2 * DRIFT_WIDTH**2)) + 1e-8 * np.eye(len(grid)))
    while True:
        if cell.domains:
            yield random.standard_normal(cell.domains)[np.arange(n) * cell.domains // n]
        else:
            yield np.interp(np.linspace(0, 1, n), grid, roots @ random.standard_normal(len(grid)))


@dataclass(frozen=True)
class ByChanges:
    """Our CD-NOD."""

    settings: CDNOD = field(default_factory=lambda: CDNOD(context=CONTEXT))

    def __call__(self, table: ChangingTable, seed: int) -> ChangingAnswer:
        """The answer; the seed is that of resamples."""
        kind: Literal["time", "domain"] = "time" if table.is_time else "domain"
        found = replace(self.settings, context=CONTEXT, context_kind=kind, seed=seed)(table.frame)
        changing = () if found.changes is None else found.changes.changing
        return _answer(found.graph.directed, found.graph.undirected, {found.names.index(name) for name in changing})


@dataclass(frozen=True)
class ByGuess:
    """PC with the same test on all rows together, without the context; open edges are oriented by a fair coin."""

    settings: CDNOD = field(default_factory=lambda: CDNOD(context=CONTEXT))

    def __call__(self, table: ChangingTable, seed: int) -> ChangingAnswer:
        """The answer; the seed is that of the coin."""
        # A context with one value leaves plain PC.
        frame = table.frame.assign(**{CONTEXT: "one"})
        graph = replace(self.settings, context=CONTEXT, phases=2)(frame).graph
        directed = graph.directed.copy()
        coin = numpy_generator(seed, 1)
        for i, j in np.argwhere(np.triu(graph.undirected)):
            tail, head = (i, j) if coin.random() < 0.5 else (j, i)
            directed[tail, head] = True
        return _answer(directed, np.zeros_like(directed), None)


@dataclass(frozen=True)
class ByCausalLearn:
    """CD-NOD of causal-learn, with its kernel test."""

    alpha: float = 0.05
    test: str = "kci"

    def __call__(self, table: ChangingTable, seed: int) -> ChangingAnswer:
        """The answer; nothing in it is random."""
        from causallearn.search.ConstraintBased.CDNOD import cdnod  # pyright: ignore[reportMissingImports]

        context = table.context[:, None]
        # It shows its progress whatever it is asked for.
        with contextlib.redirect_stderr(io.StringIO()):
            found = cdnod(table.values, context, self.alpha, self.test, True, 0, 2, show_progress=False)
        codes = np.asarray(found.G.graph)
        # [i, j] is the mark at i: -1 a tail, 1 an arrow.
        directed, undirected = (codes == -1) & (codes.T == 1), (codes == -1) & (codes.T == -1)
        context_edges = (codes[-1] != 0)[:-1]
        return _answer(directed[:-1, :-1], undirected[:-1, :-1], set(np.flatnonzero(context_edges).tolist()))


Way = Callable[[ChangingTable, int], ChangingAnswer]


def usual_ways(settings: CDNOD | None = None) -> dict[str, Way]:
    """The compared methods by name; causal-learn's only where it is installed."""
    settings = settings or CDNOD(context=CONTEXT, phases=3)
    found: dict[str, Way] = {
        "cd-nod": ByChanges(settings),
        "cd-nod, phases 1 and 2": ByChanges(replace(settings, phases=2)),
        "PC and a coin": ByGuess(settings),
    }
    if importlib.util.find_spec("causallearn") is not None:
        found["causal-learn CD-NOD"] = ByCausalLearn(settings.alpha)
    return found


def _answer(directed: Bool[ndarray, "d d"], undirected: Bool[ndarray, "d d"], changing: set[int] | None):
    return ChangingAnswer(
        frozenset((int(i), int(j)) for i, j in np.argwhere(directed)),
        frozenset(frozenset((int(i), int(j))) for i, j in np.argwhere(np.triu(undirected))),
        None if changing is None else frozenset(changing),
    )


def changing_figures(
    cells: Sequence[ChangingCell], tables: int, ways: Mapping[str, Way] | None = None, seed: int = 0
) -> dict[str, dict[str, dict[str, float | None]]]:
    """The figures of every method in every cell.

    Args:
        cells: kinds of tables.
        tables: tables of each.
        ways: methods by name; None takes `usual_ways`.
        seed: seed of the first table; each has the next one.
    """
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for cell in cells:
        answers: dict[str, list[tuple[ChangingTable, ChangingAnswer]]] = {}
        for number in range(tables):
            table = simulated_table(cell, seed + number)
            for name, way in (ways or usual_ways()).items():
                began = time.perf_counter()
                answer = way(table, seed + number)
                answers.setdefault(name, []).append((table, replace(answer, seconds=time.perf_counter() - began)))
        found[cell.key] = {name: pooled(pairs) for name, pairs in answers.items()}
    return found


def pooled(pairs: Sequence[tuple[ChangingTable, ChangingAnswer]]) -> dict[str, float | None]:
    """Figures over tables and answers; `changing_f1` is None for a method that looks for no changes."""
    directed, skeleton, changing = [], [], []
    for table, answer in pairs:
        arrows = frozenset((int(i), int(j)) for i, j in np.argwhere(table.dag))
        directed.append(Overlap.of(arrows, answer.directed))
        skeleton.append(Overlap.of({frozenset(arrow) for arrow in arrows}, answer.skeleton))
        if answer.changing is not None:
            changing.append(Overlap.of(table.changing, answer.changing))
    arrows, edges = _summed(directed), _summed(skeleton)
    return {
        "direction_precision": arrows.precision,
        "direction_recall": arrows.recall,
        "skeleton_f1": edges.f1,
        "changing_f1": _summed(changing).f1 if changing else None,
        "seconds": float(np.mean([answer.seconds for _, answer in pairs])),
    }


def _summed(overlaps: Sequence[Overlap]) -> Overlap:
    return Overlap(*(sum(getattr(one, name) for one in overlaps) for name in ("shared", "found", "true")))
