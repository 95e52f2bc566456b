"""Fits the calibration of a network, and the ranges of features, on simulated tables apart from training."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.causal.methods.sicl.networks import out_of_distribution
from intaglio.causal.methods.sicl.networks.base import Network
from intaglio.causal.methods.sicl.networks.inference import logits_of
from intaglio.causal.methods.sicl.networks.logit_scaling import (
    Calibration,
    Reliability,
    Scaling,
    compelled_logit,
    fit_scaling,
    probability,
)
from intaglio.causal.methods.sicl.networks.out_of_distribution import FeatureRanges
from intaglio.causal.methods.sicl.training.batches import column_kinds, select_tables, usable_indices
from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.causal.simulate import simulator
from intaglio.causal.simulate.batch import Batch
from intaglio.randomness import numpy_generator

FIT_SEED, TEST_SEED = 20_000_000, 30_000_000
"""Seeds of the tables for fitting and for testing the calibration; seeds of training are smaller."""
TABLES_PER_BATCH = 8
"""Tables of one size that are simulated together."""
MAX_TRIPLES_PER_TABLE = 400
"""Triples of one table that are used, drawn at random."""


@dataclass
class HeadLogits:
    """Logits of one head over many tables, with their labels and the tables' sizes."""

    logits: list[Float[ndarray, "k"]]
    true: list[Bool[ndarray, "k"]]
    rows: list[Float[ndarray, "k"]]
    columns: list[Float[ndarray, "k"]]

    @classmethod
    def empty(cls) -> "HeadLogits":
        """A head without logits."""
        return cls([], [], [], [])

    def add(self, logits: Float[ndarray, "k"], true: Bool[ndarray, "k"], rows: int, columns: int) -> None:
        """Adds the logits of one table."""
        self.logits.append(np.asarray(logits, np.float64))
        self.true.append(true)
        self.rows.append(np.full(len(true), float(rows)))
        self.columns.append(np.full(len(true), float(columns)))

    def fit(self) -> Scaling:
        """The scaling of least cross-entropy."""
        return fit_scaling(*(np.concatenate(values) for values in (self.logits, self.true, self.rows, self.columns)))

    def reliability(self, scaling: Scaling) -> tuple[Reliability, float]:
        """The reliability diagram and the Brier score of the scaled probabilities."""
        p = np.concatenate(
            [
                probability(scaling(x, float(n[0]), float(d[0])))
                for x, n, d in zip(self.logits, self.rows, self.columns, strict=True)
                if len(x)
            ]
        )
        true = np.concatenate(self.true)
        return Reliability.of(p, true), float(((p - true) ** 2).mean())


@dataclass
class AllHeads:
    """The logits of all heads."""

    skeleton: HeadLogits
    colliders: HeadLogits
    forward: HeadLogits
    arrows: HeadLogits


def table_sizes(curriculum: Curriculum, seed: int) -> Iterator[tuple[int, int]]:
    """An endless stream of (columns, rows) over the sizes of training."""
    rng = np.random.default_rng(seed)
    while True:
        d = int(rng.choice(curriculum.columns))
        rows = [n for n in curriculum.rows if n * d <= curriculum.largest] or [min(curriculum.rows)]
        # Numbers of rows between those of training occur too.
        yield d, max(10, int(rng.choice(rows) * rng.uniform(0.7, 1.2)))


def simulated_batches(curriculum: Curriculum, seed: int, tables: int) -> Iterator[Batch]:
    """Usable simulated and augmented tables of all sizes."""
    for index, (d, n) in zip(range(-(-tables // TABLES_PER_BATCH)), table_sizes(curriculum, seed), strict=False):
        rng = numpy_generator(seed, index)
        batch = curriculum.augmentation(rng, simulator.draw(curriculum.recipe, rng, TABLES_PER_BATCH, d, n))
        if (kept := usable_indices(batch)).size:
            yield select_tables(batch, kept)


def collect_logits(network: Network, curriculum: Curriculum, seed: int, tables: int) -> AllHeads:
    """The logits and labels of a network over `tables` simulated tables."""
    heads = AllHeads(*(HeadLogits.empty() for _ in range(4)))
    rng = np.random.default_rng(seed)
    for batch in simulated_batches(curriculum, seed, tables):
        _, n, d = batch.tables.shape
        found = logits_of(network, batch.tables.astype(np.float64), column_kinds(batch).numpy(), curriculum.context)
        above = np.triu_indices(d, 1)
        for k, logits in enumerate(found):
            skeleton = batch.adjacency[k] | batch.adjacency[k].T
            heads.skeleton.add(logits.skeleton[above], skeleton[above], n, d)
            triples = _triples(rng, skeleton)
            if len(triples):
                centre, leg, other = triples.T
                true = batch.compelled[k][leg, centre] & batch.compelled[k][other, centre]
                heads.colliders.add(logits.colliders(triples), true, n, d)
            if logits.marks is not None and (edges := np.argwhere(np.triu(skeleton, 1))).size:
                i, j = edges.T
                heads.forward.add(
                    compelled_logit(logits.marks)[i, j], (batch.compelled[k] | batch.compelled[k].T)[i, j], n, d
                )
            if logits.arrows is not None:
                off = ~np.eye(d, dtype=bool)
                heads.arrows.add(logits.arrows[off], batch.adjacency[k][off], n, d)
    return heads


def _triples(rng: np.random.Generator, skeleton: Bool[ndarray, "d d"]) -> ndarray:
    legs = np.triu(~skeleton, 1)
    found = np.argwhere(skeleton[:, :, None] & skeleton[:, None, :] & legs[None])
    return (
        found
        if len(found) <= MAX_TRIPLES_PER_TABLE
        else found[np.sort(rng.permutation(len(found))[:MAX_TRIPLES_PER_TABLE])]
    )


def calibrate(
    network: Network, curriculum: Curriculum, tables: int = 5000, test_tables: int = 2000
) -> tuple[Calibration, dict[str, object]]:
    """Fits the calibration on `tables` tables and measures it on `test_tables` others.

    Returns the calibration and, by head, its expected calibration error (also before scaling), Brier score and curve.
    """
    network.eval()
    heads = collect_logits(network, curriculum, FIT_SEED, tables)
    found = {name: head.fit() for name, head in vars(heads).items() if head.true}
    calibration = Calibration(**found)
    proof = collect_logits(network, curriculum, TEST_SEED, test_tables)
    facts: dict[str, object] = {"tables": tables, "proofs": test_tables}
    for name, head in vars(proof).items():
        if head.true:
            raw, _ = head.reliability(Scaling())
            curve, brier = head.reliability(getattr(calibration, name))
            facts[name] = {"ece": curve.ece, "ece_raw": raw.ece, "brier": brier, "curve": curve.to_json()}
    return calibration, facts


def fit_feature_ranges(curriculum: Curriculum, tables: int = 1500) -> FeatureRanges:
    """The ranges of features over tables of the training distribution."""
    found = []
    for batch in simulated_batches(curriculum, FIT_SEED + 1, tables):
        kinds = column_kinds(batch).numpy()
        found += [
            out_of_distribution.features(one.astype(np.float64), k) for one, k in zip(batch.tables, kinds, strict=True)
        ]
    return FeatureRanges.of(found)
