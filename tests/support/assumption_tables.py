"""Tables that contradict an assumption of causal discovery, and tables that contradict none."""

from collections.abc import Iterator

import numpy as np

from intaglio.causal.methods.sicl.training.batches import column_kinds
from intaglio.causal.methods.sicl.training.fit_logit_scaling import simulated_batches
from intaglio.causal.methods.sicl.training.settings import SiCLTraining
from intaglio.causal.tables.column import COLUMN_KINDS

KINDS = ("continuous", "ordinal", "binary", "nominal")
"""Kinds by the codes of the networks."""


def in_time(rho: float, seed: int = 0, rows: int = 600, columns: int = 8) -> np.ndarray:
    """Independent series, each row leaning on the one before by rho."""
    steps = np.random.default_rng(seed).standard_normal((rows, columns))
    found = np.zeros_like(steps)
    for t in range(1, rows):
        found[t] = rho * found[t - 1] + steps[t]
    return found[1:]


def harvest(seed: int = 0, rows: int = 3000) -> np.ndarray:
    """soil → root → crop ← leaf ← light."""
    random = np.random.default_rng(seed)
    soil, light = random.standard_normal((2, rows))
    root, leaf = soil + 0.6 * random.standard_normal(rows), light + 0.6 * random.standard_normal(rows)
    return np.stack([soil, light, root, leaf, root + leaf + 0.6 * random.standard_normal(rows)], 1)


def counted(depth: float, seed: int = 0, rows: int = 1000, columns: int = 12) -> np.ndarray:
    """Counts of independent columns, but for one edge, read at a depth that differs from row to row."""
    random = np.random.default_rng(seed)
    true = np.exp(0.4 * random.standard_normal((rows, columns)))
    true[:, 1] = true[:, 0] * np.exp(0.3 * random.standard_normal(rows))
    return random.poisson(20 * true * np.exp(depth * random.standard_normal((rows, 1)))).astype(float)


def alarms(seed: int = 0, rows: int = 1000, rare: float = 1.0) -> dict[str, np.ndarray]:
    """theft → siren ← quake, siren → anna, siren → bert; theft happens with probability 0.01 · rare."""
    random = np.random.default_rng(seed)
    theft, quake = random.random(rows) < 0.01 * rare, random.random(rows) < 0.02 * rare
    siren = random.random(rows) < np.where(theft, 0.94, np.where(quake, 0.29, 0.001 * rare))
    anna = random.random(rows) < np.where(siren, 0.9, 0.05)
    bert = random.random(rows) < np.where(siren, 0.7, 0.01 * rare)
    return {"theft": theft, "quake": quake, "siren": siren, "anna": anna, "bert": bert}


def independent(seed: int, rows: int, *, gaps: bool = False) -> tuple[np.ndarray, tuple]:
    """Independent columns of all kinds, heavy tails and rare levels too; every third table sorted by a column."""
    random = np.random.default_rng([rows, seed])
    columns = int(random.integers(2, 15))
    values, kinds = random.standard_t(3, (rows, columns)), []
    for k in range(columns):
        kinds.append(str(random.choice(COLUMN_KINDS, p=[0.5, 0.15, 0.2, 0.15])))
        if kinds[-1] == "binary":
            values[:, k] = values[:, k] > np.quantile(values[:, k], random.uniform(0.02, 0.98))
        elif kinds[-1] != "continuous":
            values[:, k] = np.minimum(random.geometric(random.uniform(0.2, 0.9), rows), 6) - 1
    if seed % 3 == 0:
        values = values[np.argsort(values[:, 0], kind="stable")]
    if gaps:
        values[random.random(values.shape) < random.uniform(0.01, 0.5, columns)] = np.nan
    return values, tuple(kinds)


def simulated(seed: int, tables: int) -> Iterator[tuple[np.ndarray, tuple]]:
    """Tables of the training's simulator, with their kinds."""
    for batch in simulated_batches(SiCLTraining(), seed, tables):
        codes = column_kinds(batch).numpy()
        for table, kinds in zip(batch.tables, codes, strict=True):
            yield table.astype(float), tuple(KINDS[code] for code in kinds)
