"""Random `Discovery` objects for tests: a random CPDAG or PAG with random probabilities."""

from itertools import combinations

import numpy as np

from intaglio.causal.graphs import meek
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.results.discovery import Discovery
from mixed_graphs import random_mixed

NAMES = (
    "age",
    "smoking",
    "air_quality",
    "tar",
    "genotype",
    "cough",
    "cancer",
    "fatigue",
    "income",
    "education",
    "exercise",
    "diet",
    "bmi",
    "blood_pressure",
    "cholesterol",
    "glucose",
    "insulin",
    "stress",
    "sleep_hours",
    "alcohol",
    "region",
    "employment",
    "household_size",
    "rent",
    "commute_minutes",
    "noise",
    "medication",
    "hospital_visits",
    "insurance_premium_per_quarter",
    "survey_month",
)


def unshielded(skeleton: np.ndarray) -> np.ndarray:
    found = [
        (k, i, j)
        for k in range(len(skeleton))
        for i, j in combinations(np.flatnonzero(skeleton[k]).tolist(), 2)
        if not skeleton[i, j]
    ]
    return np.array(found, np.int64).reshape(-1, 3)


def class_of(d: int, per_node: float, random: np.random.Generator) -> Graph:
    order = random.permutation(d)
    upper = np.triu(random.random((d, d)) < min(1.0, 2 * per_node / max(1, d - 1)), 1)
    dag = np.zeros((d, d), bool)
    dag[np.ix_(order, order)] = upper
    directed, undirected = meek.cpdag_of(dag)
    return Graph.from_adjacency("CPDAG", directed | undirected, NAMES[:d])


def found_graph(d: int = 8, seed: int = 0, *, per_node: float = 1.2, subsamples: bool = True, **changes) -> Discovery:
    random = np.random.default_rng(seed)
    graph = changes.pop("graph") if "graph" in changes else class_of(d, per_node, random)
    d = len(graph)
    near = np.triu(np.where(graph.skeleton, random.beta(9, 1.2, (d, d)), random.beta(0.5, 12, (d, d))), 1)
    adjacent = near + near.T
    marks = np.zeros((d, d, 3))
    for i, j in combinations(range(d), 2):
        kind = 0 if graph.directed[i, j] else 1 if graph.directed[j, i] else 2
        shares = random.dirichlet(np.where(np.arange(3) == kind, 8.0, 1.0))
        marks[i, j], marks[j, i] = shares, shares[[1, 0, 2]]
    triples = unshielded(graph.skeleton)
    drawn = np.array([graph.directed[i, k] and graph.directed[j, k] for k, i, j in triples.tolist()], bool)
    colliders = np.where(drawn, random.beta(8, 1.5, len(triples)), random.beta(1, 8, len(triples)))
    spread = frequencies = None
    if subsamples:
        spread = np.sqrt(adjacent * (1 - adjacent)) / 3
        frequencies = np.concatenate([(1 - adjacent)[..., None], adjacent[..., None] * marks], -1)
    given = {
        "method": "sicl",
        "graph": graph,
        "adjacent": adjacent,
        "marks": marks,
        "triples": triples,
        "colliders": colliders,
        "spread": spread,
        "frequencies": frequencies,
        "rows": 2000,
        "seconds": 1.25,
    }
    return Discovery(**{**given, **changes})


def found_pag(d: int = 8, seed: int = 0, **changes) -> Discovery:
    """A random PAG with random probabilities of the marks at both ends, its own mark the most probable."""
    random = np.random.default_rng(seed)
    drawn = None if "graph" in changes else ADMG(NAMES[:d], *random_mixed(random, d, 0.3)).mag().pag()
    graph = changes.pop("graph", drawn)
    d = len(graph)
    near = np.triu(np.where(graph.skeleton, random.beta(9, 1.2, (d, d)), random.beta(0.5, 12, (d, d))), 1)
    marks = np.zeros((d, d, 3))
    for i, j in np.ndindex(d, d):
        place = {2: 0, 3: 1}.get(int(graph.marks[i, j]), 2)
        marks[i, j] = random.dirichlet(np.where(np.arange(3) == place, 8.0, 1.0))
    triples = unshielded(graph.skeleton)
    given = {
        "method": "abic",
        "graph": graph,
        "adjacent": near + near.T,
        "marks": marks,
        "triples": triples,
        "colliders": random.random(len(triples)),
        "ood_score": float("nan"),
        "rows": 2000,
        "seconds": 1.25,
        "reading": "Shares of restarts.",
    }
    return Discovery(**{**given, **changes})
