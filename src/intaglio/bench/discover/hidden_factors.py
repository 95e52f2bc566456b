"""Tables with a hidden common cause of all columns: a factor, a batch, the depth of counts, types of cells.

The truth taken is the class of the DAG among the columns alone, with the hidden cause left out: what a reader of such
a table wants to know. It is arguable, since no CPDAG over the columns has the law of the broken table. The sound twin
has the same mechanisms without the hidden cause.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.bench.discover.structural_law import Observe, random_graph, random_law, random_noise_law, shaped
from intaglio.bench.discover.twin_tables import TwinTables

WITHOUT_EDGES = 0.2
"""Share of tables whose columns have no edges."""
FACTOR_SHARE = (0.02, 0.4)
"""Range of the mean share of the noise's variance that a factor or a batch has, drawn per table."""
BATCHES = (2, 8)
DEPTH = (0.08, 0.5)
"""Range of the standard deviation of the logarithm of the depth, drawn per table."""
COUNT_MEAN = (3.0, 60.0)
"""Range of the mean counts of a column with depth, drawn per column, evenly on a logarithmic scale."""
COUNT_SPREAD = (0.25, 0.7)
"""Range of the standard deviation of the logarithm of a rate, drawn per column."""
CELL_MEAN, CELL_SPREAD = (0.1, 1.5), (0.5, 1.1)
"""The same two ranges for cells, where most counts are 0."""
CELL_EDGES = (0.2, 0.4, 0.6)
"""Expected edges a column among cells."""
TYPES = (2, 5)
MARKER_SHARE, MARKER_SHIFT = (0.3, 0.9), (0.4, 1.5)
"""Ranges of the share of columns whose rate differs between types, and of the standard deviation of its logarithm."""
MOST_RATE = 1e6


def weak_factor(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """One factor that takes a share of every column's noise, with loadings of one sign or of both."""
    share = np.clip(rng.uniform(*FACTOR_SHARE) * rng.uniform(0.5, 1.5, variables), 0, 0.9)
    sign = rng.choice([-1.0, 1.0], variables) if rng.random() < 0.5 else np.ones(variables)
    return _with_shared_noise(rng, rng.standard_normal((rows, 1)) * sign, share)


def batch(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """Batches of rows, sorted by them or not, that shift every column's noise by amounts of their own."""
    count = int(rng.integers(BATCHES[0], BATCHES[1] + 1))
    label = rng.choice(count, rows, p=rng.dirichlet(np.full(count, 5.0)))
    label = np.sort(label) if rng.random() < 0.5 else label
    shift = rng.standard_normal((count, variables))[label]
    shift = (shift - shift.mean(0)) / np.maximum(shift.std(0), 1e-9)
    return _with_shared_noise(rng, shift, np.full(variables, rng.uniform(*FACTOR_SHARE)))


def depth(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """Counts whose rates are all multiplied by the row's depth.

    An effect responds to the counts of its causes over the depth, so that the depth itself only measures.
    """
    log_depth = rng.uniform(*DEPTH) * rng.standard_normal((rows, 1))
    made = random_graph(rng, variables, empty=WITHOUT_EDGES)
    return _counts(rng, made, (COUNT_MEAN, COUNT_SPREAD), log_depth, np.zeros((rows, variables)))


def cell_types(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """Counts with many zeros in cells of several types, which differ in the rates of many columns; few edges."""
    return _cells(rng, variables, rows, np.zeros((rows, 1)))


def cell_types_with_depth(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """`cell_types` whose rates are multiplied by the depth of the cell as well."""
    return _cells(rng, variables, rows, rng.uniform(*DEPTH) * rng.standard_normal((rows, 1)))


def _with_shared_noise(
    rng: np.random.Generator, shared: Float[ndarray, "n d"], share: Float[ndarray, "d"]
) -> TwinTables:
    """Noise that is shared by the given shares of variance, beside noise of the same variance that is not."""
    law = random_law(rng, random_graph(rng, len(share), empty=WITHOUT_EDGES))
    shape = random_noise_law(rng)
    own, other = (shaped(rng.standard_normal(shared.shape), shape) for _ in range(2))
    broken = law.table(np.sqrt(share) * shared + np.sqrt(1 - share) * own)
    return TwinTables.of(law.made, broken, law.table(other), law.kinds)


def _cells(rng: np.random.Generator, variables: int, rows: int, log_depth: Float[ndarray, "n 1"]) -> TwinTables:
    made = random_graph(rng, variables, edges=CELL_EDGES)
    count = int(rng.integers(TYPES[0], TYPES[1] + 1))
    shares = rng.dirichlet(np.full(count, 5.0))
    markers = rng.random(variables) < rng.uniform(*MARKER_SHARE)
    shift = rng.uniform(*MARKER_SHIFT) * rng.standard_normal((count, variables)) * markers
    shift -= np.log(shares @ np.exp(shift))
    return _counts(rng, made, (CELL_MEAN, CELL_SPREAD), log_depth, shift[rng.choice(count, rows, p=shares)])


def _counts(
    rng: np.random.Generator,
    made: Bool[ndarray, "d d"],
    ranges: tuple[tuple[float, float], tuple[float, float]],
    log_depth: Float[ndarray, "n 1"],
    shift: Float[ndarray, "n d"],
) -> TwinTables:
    """Counts with a depth and with shifts of the logarithms of rates, and without."""
    rows, d = shift.shape
    (low, high), spreads = ranges
    observe = _counting(rng, np.exp(rng.uniform(np.log(low), np.log(high), d)), rng.uniform(*spreads, d))
    plain = observe(0.0, np.zeros((1, d)))
    law = random_law(rng, made, levels=False, observe=plain)
    noise = rng.standard_normal((2, rows, d))
    sound = law.table(noise[1], plain)
    return TwinTables.of(made, law.table(noise[0], observe(log_depth[:, 0], shift)), sound)


def _counting(
    rng: np.random.Generator, mean: Float[ndarray, "d"], spread: Float[ndarray, "d"]
) -> Callable[[float | Float[ndarray, "n"], Float[ndarray, "n d"]], Observe]:
    """Poisson counts of rate mean·exp(spread·score − spread²/2 + log-depth + shift), by log-depth and shift.

    The signal for a count's effects is the logarithm of the count, a half added, less the log-depth.
    """

    def observe(log_depth: float | Float[ndarray, "n"], shift: Float[ndarray, "n d"]) -> Observe:
        def counted(j: int, score: Float[ndarray, "n"]) -> tuple[Float[ndarray, "n"], Float[ndarray, "n"]]:
            log_rate = np.log(mean[j]) + spread[j] * score - spread[j] ** 2 / 2 + log_depth + shift[:, j]
            count = rng.poisson(np.minimum(np.exp(log_rate), MOST_RATE)).astype(np.float64)
            return count, np.log(count + 0.5) - log_depth

        return counted

    return observe
