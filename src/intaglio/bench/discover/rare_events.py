"""Tables of events, yes or no, that are rare: causes that few rows have, and that hardly any row has together.

A column is a noisy OR of its causes (Pearl 1988): it happens unless its own rate and each cause that is there all fail,
independently. The truth is the class of that DAG. No assumption is broken but that the rows are enough. The sound twin
has the same graph, strengths of arrows and rates of effects, with causes that are common.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.bench.discover.structural_law import random_graph
from intaglio.bench.discover.twin_tables import TwinTables

CASES = (8.0, 40.0)
"""Range of the expected rows of a rare cause, evenly on a logarithmic scale."""
LEAK_CASES = (2.0, 8.0)
"""Range of the expected rows where an effect happens by itself."""
MOST_RATE = 0.15
"""Largest rate of a rare cause."""
COMMON_RATE = (0.2, 0.5)
"""Range of the rate of a common cause."""
FALSE_REPORT = (0.005, 0.05)
"""Range of the rate at which a report comes without its event."""
STRENGTH = (0.3, 0.95)
"""Range of the probability that a cause that is there brings about its effect."""
BLOCK = 5
"""Columns of a block of `reports`: two causes, their effect, two reports of it."""
LINKED = 0.5
"""Probability that the effect of a block is a cause in the next."""
MOST_CAUSES = 6
"""Most causes of an effect in `causes`."""
NETWORK_EDGES = (0.5, 0.8, 1.1)
"""Expected edges a column of `network`."""


def reports(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """Two rare causes of an event that two others report, in blocks of five columns, some of them linked."""
    made, reporting = np.zeros((variables, variables), bool), np.zeros(variables, bool)
    for first in range(0, variables, BLOCK):
        event = first + 2
        made[first:event, event : event + 1] = True
        made[event : event + 1, event + 1 : first + BLOCK] = True
        reporting[event + 1 : first + BLOCK] = True
        if first and rng.random() < LINKED:
            made[event - BLOCK, event : event + 1] = True
    return _twins(rng, made, rows, reporting)


def network(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """A random sparse DAG of rare events."""
    made = random_graph(rng, variables, edges=NETWORK_EDGES)
    return _twins(rng, made, rows, np.zeros(variables, bool))


def causes(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """Independent rare causes with a common effect, up to six of them; more columns are further such groups."""
    made, first = np.zeros((variables, variables), bool), 0
    while first < variables - 1:
        effect = min(variables - 1, first + int(rng.integers(2, MOST_CAUSES + 1)))
        made[first:effect, effect] = True
        first = effect + 1
    return _twins(rng, made, rows, np.zeros(variables, bool))


def noisy_or(
    rng: np.random.Generator,
    made: Bool[ndarray, "d d"],
    strength: Float[ndarray, "d d"],
    rate: Float[ndarray, "d"],
    rows: int,
) -> Float[ndarray, "n d"]:
    """Rows of events, 1 or 0, with columns in causal order; `rate` is that of an event without its causes."""
    values = np.zeros((rows, len(made)))
    for j in range(len(made)):
        fails = np.where(values > 0, 1 - strength[:, j] * made[:, j], 1.0).prod(1)
        values[:, j] = rng.random(rows) >= (1 - rate[j]) * fails
    return values


def _twins(
    rng: np.random.Generator, made: Bool[ndarray, "d d"], rows: int, reporting: Bool[ndarray, "d"]
) -> TwinTables:
    d = len(made)
    strength = rng.uniform(*STRENGTH, (d, d))
    low, high = np.log(CASES)
    rare = np.minimum(np.exp(rng.uniform(low, high, d)) / rows, MOST_RATE)
    alone = np.where(reporting, rng.uniform(*FALSE_REPORT, d), rng.uniform(*LEAK_CASES, d) / rows)
    roots = ~made.any(0)
    rates = [np.where(roots, of_roots, alone) for of_roots in (rare, rng.uniform(*COMMON_RATE, d))]
    broken, sound = (noisy_or(rng, made, strength, rate, rows) for rate in rates)
    return TwinTables.of(made, broken, sound, discrete=True)
