"""Groups of similar pictures: clustering, ranking, selection, and the rule for stopping early."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.extract.cliques import Partition, partition, representatives, threshold_for
from intaglio.extract.generate import Generated
from intaglio.extract.settings import GenerationSettings

MIN_PICTURES = 3
"""Pictures of the smallest group that is returned where their number is not given."""
SAME_SIMILARITY = 0.98
"""Similarity above which two representatives count as the same picture."""


@dataclass(frozen=True)
class Cluster:
    """A group of similar pictures, by their indices among those generated."""

    members: tuple[int, ...]
    representative: int
    """The member nearest to the mean of the group's descriptors."""
    cohesion: float
    """Mean similarity of two members; NaN for a lone picture."""
    lowest: float
    """Least similarity of two members; NaN for a lone picture."""

    @property
    def score(self) -> float:
        """Rank score: the size, plus half the cohesion as a tie-breaker."""
        return len(self.members) + (0.0 if np.isnan(self.cohesion) else max(0.0, self.cohesion) / 2)


def cluster(settings: GenerationSettings, generated: Generated) -> Partition:
    """The partition of all pictures, at the threshold that gives as many groups as are sought, or at the set one."""
    similarity = generated.descriptors @ generated.descriptors.T
    listed = {} if settings.grouping == "cliques" else {"listed": 0}
    if settings.pictures is None or settings.pictures == 1:
        return partition(similarity, settings.threshold, **listed)
    return threshold_for(similarity, settings.pictures, **listed)


def ranked(found: Partition, generated: Generated) -> list[Cluster]:
    """All groups, by falling score."""
    chosen = representatives(found.groups, generated.descriptors)
    groups = [
        Cluster(members, nearest, *_alike(generated.descriptors[list(members)]))
        for members, nearest in zip(found.groups, chosen, strict=True)
    ]
    return sorted(groups, key=lambda group: (-group.score, group.members))


def select(settings: GenerationSettings, groups: list[Cluster]) -> list[Cluster]:
    """The first `pictures` of ranked groups, or all of `MIN_PICTURES` or more."""
    if settings.pictures is None:
        return [group for group in groups if len(group.members) >= MIN_PICTURES]
    return groups[: settings.pictures]


def stopping_rule(settings: GenerationSettings) -> Callable[[Generated], bool] | None:
    """A test called after each round, true once the returned pictures stay the same; None to draw all."""
    if not settings.patience:
        return None
    before: list[Float[ndarray, "m d"]] = []

    def enough(generated: Generated) -> bool:
        if len(generated.seeds) < max(2, settings.pictures or 1):
            return False
        groups = select(settings, ranked(cluster(settings, generated), generated))
        before.append(generated.descriptors[[group.representative for group in groups]])
        last = before[-settings.patience - 1 :]
        return len(last) > settings.patience and all(_same(last[-1], other) for other in last[:-1])

    return enough


def _same(now: Float[ndarray, "m d"], then: Float[ndarray, "n d"]) -> bool:
    """Whether there are as many pictures, each with a match in the other set."""
    return len(now) == len(then) > 0 and bool(((now @ then.T).max(1) > SAME_SIMILARITY).all())


def _alike(rows: Float[ndarray, "m d"]) -> tuple[float, float]:
    if len(rows) < 2:
        return float("nan"), float("nan")
    pairs = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    return float(pairs.mean()), float(pairs.min())
