"""Published Bayesian networks, read from the data files of pgmpy, whose code is not imported.

Discrete ones are BIF texts, Gaussian ones JSON; both from the bnlearn repository (M. Scutari,
https://www.bnlearn.com/bnrepository).
"""

import gzip
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.paths import causal_order
from intaglio.errors import BadInput, IntaglioError


@dataclass(frozen=True, eq=False)
class ConditionalLaw:
    """The conditional distribution of one variable given its parents."""

    parents: tuple[int, ...]
    """Indices into the network's names."""
    table: ndarray
    """Discrete: [states of the first parent, ..., states]. Gaussian: [1 + parents], the intercept and the weights."""
    spread: float = 0.0
    """Standard deviation of a Gaussian variable's noise."""


@dataclass(frozen=True, eq=False)
class BayesianNetwork:
    """A Bayesian network over named variables, all discrete or all Gaussian."""

    names: tuple[str, ...]
    states: tuple[tuple[str, ...], ...]
    """Texts of each variable's states; () for Gaussian ones."""
    nodes: tuple[ConditionalLaw, ...]

    @property
    def discrete(self) -> bool:
        """Whether the variables have states."""
        return any(self.states)

    @property
    def graph(self) -> Graph:
        """The network's DAG."""
        made = np.zeros((len(self.names), len(self.names)), bool)
        for k, node in enumerate(self.nodes):
            made[list(node.parents), k] = True
        return Graph.from_adjacency("DAG", made, self.names)

    def sample(self, rng: np.random.Generator, rows: int) -> Float[ndarray, "n d"]:
        """Independent rows, sampled ancestrally: codes of the states from 0, or numbers."""
        values = np.zeros((rows, len(self.names)))
        for k in causal_order(self.graph.directed):
            node = self.nodes[k]
            known = values[:, list(node.parents)]
            if self.discrete:
                law = node.table[tuple(known.astype(np.int64).T)] if node.parents else node.table[None]
                edges = law.cumsum(-1)
                values[:, k] = (rng.random((rows, 1)) * edges[:, -1:] > edges[:, :-1]).sum(-1)
            else:
                values[:, k] = node.table[0] + known @ node.table[1:] + node.spread * rng.standard_normal(rows)
        return values


def published(name: str) -> BayesianNetwork:
    """A network by its name in the repository, such as `asia` or `ecoli70`.

    Raises:
        IntaglioError: pgmpy is not installed.
        BadInput: it has no network of that name.
    """
    folder = networks_folder()
    if folder is None:
        raise IntaglioError('published networks come with pgmpy; install it with: pip install "intaglio[peers]"')
    text, numbers = folder / f"{name}.bif.gz", folder / f"{name}.json"
    if text.is_file():
        return read_bif(gzip.decompress(text.read_bytes()).decode())
    if numbers.is_file():
        return read_gaussian(json.loads(numbers.read_bytes()))
    raise BadInput(f"pgmpy brings no network called {name!r}; it has {', '.join(names_in(folder))}")


def networks_folder() -> Path | None:
    """The folder of pgmpy's networks; None where pgmpy is not installed or has none."""
    spec = importlib.util.find_spec("pgmpy")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "utils" / "example_models"
    return folder if folder.is_dir() else None


def names_in(folder: Path) -> list[str]:
    """The networks that a folder holds, by name."""
    return sorted(path.name.partition(".")[0] for kind in ("*.bif.gz", "*.json") for path in folder.glob(kind))


def read_bif(text: str) -> BayesianNetwork:
    """A discrete network from the text of a BIF file; rows of a table may stand in any order.

    Raises:
        BadInput: a law that is missing, or has other states than its variables.
    """
    found = re.findall(r"variable\s+(\S+)\s*\{\s*type\s+discrete\s*\[\s*\d+\s*\]\s*\{([^}]*)\}", text)
    states = {name: _listed(listed) for name, listed in found}
    names = tuple(states)
    index = {name: k for k, name in enumerate(names)}
    nodes: dict[str, ConditionalLaw] = {}
    for head, body in re.findall(r"probability\s*\(([^)]*)\)\s*\{([^}]*)\}", text):
        child, _, given = head.partition("|")
        parents = _listed(given)
        if unknown := sorted({child.strip(), *parents} - set(names)):
            raise BadInput(f"the network has a law for {unknown[0]!r}, which is no variable of it")
        nodes[child.strip()] = ConditionalLaw(
            tuple(index[p] for p in parents), _law(child.strip(), parents, states, body)
        )
    if missing := next((name for name in names if name not in nodes), None):
        raise BadInput(f"the network has no law for {missing!r}")
    return BayesianNetwork(names, tuple(states.values()), tuple(nodes[name] for name in names))


def _law(child: str, parents: tuple[str, ...], states: dict[str, tuple[str, ...]], body: str) -> ndarray:
    shape = tuple(len(states[name]) for name in (*parents, child))
    table = np.full(shape, np.nan)
    for line in body.split(";"):
        if not line.strip():
            continue
        case, numbers = re.fullmatch(r"\s*(?:table|\(([^)]*)\))\s*(.*?)\s*", line, re.DOTALL).groups()  # type: ignore[union-attr]
        cell = tuple(states[p].index(value) for p, value in zip(parents, _listed(case or ""), strict=True))
        table[cell] = [float(number) for number in _listed(numbers)]
    if not np.isfinite(table).all():
        raise BadInput(f"the law of {child!r} lacks some states of its parents")
    return table


def _listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def read_gaussian(content: dict[str, Any]) -> BayesianNetwork:
    """A Gaussian network from pgmpy's JSON: intercept, weights and variance of each variable."""
    names = tuple(content["nodes"])
    index = {name: k for k, name in enumerate(names)}
    nodes = []
    for name in names:
        law = content["cpds"][name]
        weights = [law["coefficients"][term][0] for term in ("(Intercept)", *law["parents"])]
        parents = tuple(index[parent] for parent in law["parents"])
        nodes.append(ConditionalLaw(parents, np.array(weights), float(law["variance"][0]) ** 0.5))
    return BayesianNetwork(names, ((),) * len(names), tuple(nodes))
