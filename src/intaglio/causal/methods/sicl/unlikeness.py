"""Unlikeness of a table to those that a network was trained on, with reasons, and warnings about its answer."""

from dataclasses import dataclass

import numpy as np

from intaglio.causal.methods.sicl.networks import out_of_distribution
from intaglio.causal.methods.sicl.networks.encoding import LEVEL_SLOTS
from intaglio.causal.methods.sicl.predict import PredictedGraph
from intaglio.causal.methods.sicl.trust_features import TABLE_GROUPS
from intaglio.causal.tables.assumptions import some
from intaglio.causal.tables.excess_zeros import columns_of_excess_zeros
from intaglio.causal.tables.table import Table

SCARCE_ROWS = 35
"""Rows below which a warning is given: training had hardly any such tables, and finds many false edges there."""
DENSE_SHARE = 0.3
"""Share of adjacent pairs above which a warning is given: training had hardly any such graphs."""
UNLIKE = 0.5
"""Probability of a graph worse than the empty one from which its reasons are told."""
OF_FEATURES = "the share of the table's features that the training did not have stands for the probability"
"""Words beside a score that is not the learnt probability."""
MIN_COUNTS = 3
"""Least columns of counts with many zeros that are told of, where the answer is doubted."""


@dataclass(frozen=True)
class Unlikeness:
    """The features of a table that are unlike the training, and the assumptions that it contradicts."""

    compared: int
    """Number of features that have a range over the training tables."""
    features: tuple[str, ...]
    """A sentence for each feature outside of its range."""
    broken: tuple[str, ...] = ()
    """Assumptions that the table contradicts, in a few words each; those that hold are not counted as compared."""
    learnt: float | None = None
    """Probability that the network's graph is worse than the empty graph, with what is done against what is broken;
    None for a network without a recalibration."""
    groups: tuple[str, ...] = ()
    """Reasons for that, in words."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """All of them, and a word on a score that is no probability."""
        told = (*self.features, *self.broken, *self.groups)
        return (*told, OF_FEATURES) if told and not self.is_learnt else told

    @property
    def score(self) -> float:
        """In [0, 1]: the probability of a graph worse than the empty one or, without it, the share of what is unlike.

        Trees know nothing of tables far outside of what they were learnt from: there it is the share of such features,
        where that is larger.
        """
        if self.learnt is None:
            return len((*self.features, *self.broken)) / max(1, self.compared + len(self.broken))
        return max(self.learnt, self.outside) if self.is_outside else self.learnt

    @property
    def is_learnt(self) -> bool:
        """Whether the score is the learnt probability."""
        return self.learnt is not None and self.score == self.learnt

    @property
    def outside(self) -> float:
        """Share of the features outside of their range."""
        return len(self.features) / max(1, self.compared)

    @property
    def is_outside(self) -> bool:
        """Whether so many features are that a warning is due."""
        return self.outside > out_of_distribution.WARN_ABOVE


def unlikeness(found: PredictedGraph) -> Unlikeness:
    """The unlikeness of the table that a graph was found in."""
    reading = found.reading
    trained, examined = reading.trained, reading.examined
    values, kinds = examined.table.values, reading.evidence.kinds
    broken = [one.reason for one in examined.broken]
    if found.bounded:
        broken.append("cases of levels are rare")
    outside = trained.ranges.outside(out_of_distribution.features(values, kinds))
    recalibration, features = trained.recalibration, reading.features
    if recalibration is None or features is None:
        return Unlikeness(*outside, tuple(broken))
    learnt = recalibration.unlikeness(features.aided)
    groups = recalibration.reasons(features.table, TABLE_GROUPS) if learnt >= UNLIKE else ()
    return Unlikeness(*outside, tuple(broken), learnt, groups)


def warnings(table: Table, found: PredictedGraph, unlike: Unlikeness) -> tuple[str, ...]:
    """Warnings about the table as given and the result."""
    reading, sentences = found.reading, []
    examined, d = reading.examined, len(found.names)
    if unlike.is_outside:
        sentences.append(
            f"the table is unlike those that the network was trained on ({'; '.join(unlike.features)}); "
            "its probabilities may not hold"
        )
    if unlike.learnt is not None and unlike.learnt >= UNLIKE and reading.distrust > 0:
        why = f" ({'; '.join(unlike.groups)})" if unlike.groups else ""
        sentences.append(
            f"in {unlike.learnt:.0%} of simulated tables like this one the network's own graph is worse than the empty "
            f"graph{why}, so that its probabilities are replaced by what held there; if rows share a cause that no "
            "column holds, such as a batch, a type or a depth, put it in as a column, or allow for it (`--latent`)"
        )
        sentences += _many_zeros(table)
    if rarest := found.bounded:
        sentences.append(
            f"cases in {', '.join(map(repr, rarest))} are rarer than in any training table, so that the sureness of "
            "their edges is bounded by exact counts; more rows with such cases settle them"
        )
    if (rows := len(examined.table)) < SCARCE_ROWS:
        sentences.append(f"{rows} rows say so little that even independent columns often come out adjacent")
    if d > 2 and found.decoded.graph.skeleton.sum() == d * (d - 1):
        sentences.append(
            "every pair is adjacent: these rows rule no edge out, so they say nothing about directions either"
        )
    density = found.adjacent[np.triu_indices(d, 1)].mean() if d > 1 else 0.0
    if d >= 8 and density > DENSE_SHARE:
        sentences.append(
            f"about {density:.0%} of all pairs seem adjacent; graphs that dense are found with many errors"
        )
    if many := [name for name, levels in zip(table.names, table.levels, strict=True) if len(levels) >= LEVEL_SLOTS]:
        sentences.append(f"{many[0]} has more levels than the network tells apart ({LEVEL_SLOTS - 1})")
    return tuple(sentences)


def _many_zeros(table: Table) -> list[str]:
    columns = columns_of_excess_zeros(table.values, table.kinds)
    if len(columns) < MIN_COUNTS:
        return []
    return [
        f"{some([repr(table.names[k]) for k in columns])} are counts with many zeros, or logarithms of such: where the "
        "depth of a count or the type of a row decides them, columns depend on each other without a cause; put both in "
        "as columns, or divide the depth out"
    ]
