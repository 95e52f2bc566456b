"""CPDAGs of published networks against counts from the literature; the networks' files come with pgmpy."""

import gzip
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from intaglio.causal.graphs.graph import Graph

COUNTS = {
    "cancer": (5, 4, 1, 4),
    "earthquake": (5, 4, 1, 4),
    "survey": (6, 6, 2, 6),
    "asia": (8, 8, 2, 5),
    "sachs": (11, 17, 0, 0),
    "child": (20, 25, 5, 13),
    "insurance": (27, 52, 23, 34),
    "water": (32, 66, 78, 60),
    "mildew": (35, 46, 37, 46),
    "alarm": (37, 46, 24, 42),
    "barley": (48, 84, 56, 75),
    "hailfinder": (56, 66, 34, 49),
    "hepar2": (70, 123, 100, 114),
    "win95pts": (76, 112, 129, 100),
}
"""Variables, edges, unshielded colliders, compelled arrows."""


def read(path: Path) -> Graph:
    """The structure of a BIF file: `probability ( child | parent, parent )`."""
    text = gzip.decompress(path.read_bytes()).decode()
    names = re.findall(r"^\s*variable\s+(\S+)", text, re.MULTILINE)
    found = re.findall(r"probability\s*\(\s*([^|)\s]+)\s*(?:\|([^)]*))?\)", text)
    edges = [
        (parent.strip(), "-->", child) for child, parents in found for parent in parents.split(",") if parent.strip()
    ]
    return Graph.of("DAG", names, edges)


@pytest.mark.parametrize("name", COUNTS)
def test_the_class_of_a_published_network_has_the_counts_that_are_known(name):
    spec = importlib.util.find_spec("pgmpy")
    if spec is None or spec.origin is None:
        pytest.skip("pgmpy is not installed")
    path = Path(spec.origin).parent / "utils" / "example_models" / f"{name}.bif.gz"
    if not path.is_file():
        pytest.skip("this pgmpy has no such file")
    dag = read(path)
    pattern = dag.cpdag()
    assert (len(dag), len(dag.edges), len(dag.colliders), int(pattern.directed.sum())) == COUNTS[name]
    assert pattern.colliders == dag.colliders
    assert np.array_equal(pattern.skeleton, dag.skeleton)
