"""Tables whose rows are no independent draws: series, random walks, groups, and rows that are repeated."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.bench.discover.structural_law import StructuralLaw, random_graph, random_law, random_noise_law, shaped
from intaglio.bench.discover.twin_tables import TwinTables

WITHOUT_EDGES = 0.3
"""Share of tables whose columns have no edges."""
LAG_CORRELATION = (0.2, 0.95)
"""Range of the correlation of a series' noise with the row before, drawn per table; its columns vary by ±0.1."""
GROUP_ROWS = (5, 40)
"""Range of the mean rows of a group, drawn per table."""
GROUP_SHARE = (0.1, 0.7)
"""Range of the share of the noise's variance that a group's rows have in common."""
COPIES = (2, 5)
"""Range of the times that a table is appended to itself, itself included."""
POOL_SHARE = (0.2, 0.6)
"""Range of the rows that rows are drawn from, as a share of those drawn."""


def series(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """Rows in time: the noise of each column is a stationary AR(1) series of its own.

    The truth is the graph within a row, which no arrow leaves: a single row has the same law as one of the sound
    twin's independent rows.
    """
    middle = rng.uniform(*LAG_CORRELATION)
    lag = np.clip(middle + rng.uniform(-0.1, 0.1, variables), 0, 0.97)
    steps = rng.standard_normal((rows, variables))
    noise = steps.copy()
    for t in range(1, rows):
        noise[t] = lag * noise[t - 1] + np.sqrt(1 - lag**2) * steps[t]
    return _with_noise(rng, noise)


def walks(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """Rows in time: the noise of each column is a random walk of its own, scaled to unit variance over the rows.

    The truth is the graph within a row. Walks have no law that rows share, so that columns without an edge correlate
    in any one table.
    """
    noise = rng.standard_normal((rows, variables)).cumsum(0)
    noise = (noise - noise.mean(0)) / np.maximum(noise.std(0), 1e-9)
    return _with_noise(rng, noise, law_of_noise="gaussian")


def groups(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """Rows in groups (patients, sites), sorted by them or not: a share of each column's noise is its group's.

    Groups act on each column by themselves, so that a single row has the law of the sound twin's: the truth is the
    graph within a row.
    """
    count = max(2, round(rows / rng.uniform(*GROUP_ROWS)))
    group = rng.integers(count, size=rows)
    group = np.sort(group) if rng.random() < 0.5 else group
    share = rng.uniform(*GROUP_SHARE)
    common, own = rng.standard_normal((count, variables))[group], rng.standard_normal((rows, variables))
    return _with_noise(rng, np.sqrt(share) * common + np.sqrt(1 - share) * own)


def appended(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """A sound table appended to itself, two to five times in all, then perhaps shuffled; the sound twin has it once."""
    distinct = max(2, rows // int(rng.integers(COPIES[0], COPIES[1] + 1)))
    return _repeated(rng, variables, np.arange(rows) % distinct)


def resampled(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """Rows drawn with replacement from a smaller sound table; the sound twin has each row that was drawn once."""
    pool = max(2, round(rows * rng.uniform(*POOL_SHARE)))
    return _repeated(rng, variables, rng.integers(pool, size=rows))


def _repeated(rng: np.random.Generator, variables: int, drawn: Int[ndarray, "n"]) -> TwinTables:
    law = _law(rng, variables)
    noise = shaped(rng.standard_normal((int(drawn.max()) + 1, variables)), random_noise_law(rng))
    values = law.table(noise)
    drawn = rng.permutation(drawn) if rng.random() < 0.3 else drawn
    return TwinTables.of(law.made, values[drawn], values[np.unique(drawn)], law.kinds)


def _with_noise(rng: np.random.Generator, noise: Float[ndarray, "n d"], law_of_noise: str | None = None) -> TwinTables:
    """The table of Gaussian noise with dependent rows, and that of independent noise of the same law."""
    law, shape = _law(rng, noise.shape[1]), law_of_noise or random_noise_law(rng)
    independent = rng.standard_normal(noise.shape)
    return TwinTables.of(law.made, law.table(shaped(noise, shape)), law.table(shaped(independent, shape)), law.kinds)


def _law(rng: np.random.Generator, variables: int) -> StructuralLaw:
    return random_law(rng, random_graph(rng, variables, empty=WITHOUT_EDGES))
