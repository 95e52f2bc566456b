"""Landmarks: typical embeddings of masked series, so that a few explanations stand for many."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from intaglio.randomness import generator, numpy_generator

SHARPNESS = 0.01
"""Cosines are divided by it before a landmark is drawn."""
STEPS, RATE = 100, 0.1
"""Moves of the landmarks, and the share of the way to the mean of the assigned that each of them goes."""
SHUFFLES = 200
"""Of the classes, for the purity by chance."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Groups of series, each about a landmark."""

    places: Int[ndarray, "m"]
    """The landmark of each series, from 0, by falling number of series."""
    cosines: Float[ndarray, "m"]
    """Cosine of the embedding of each and its landmark, about the mean of the series that are learnt from."""

    @property
    def counts(self) -> Int[ndarray, "k"]:
        """Series of each landmark."""
        return np.bincount(self.places)

    def nearest(self, landmark: int) -> int:
        """Place of the series that is nearest to a landmark."""
        own = np.flatnonzero(self.places == landmark)
        return int(own[self.cosines[own].argmax()])

    def purity(self, codes: Int[ndarray, "m"]) -> float:
        """Share of the series that are of the most frequent class of their landmark."""
        return float(self._table(codes).max(1).sum() / len(codes))

    def purity_by_chance(self, codes: Int[ndarray, "m"]) -> float:
        """The same where classes are shuffled: more landmarks of fewer series are purer by themselves."""
        source = numpy_generator(0)
        return float(np.mean([self.purity(source.permutation(codes)) for _ in range(SHUFFLES)]))

    def _table(self, codes: Int[ndarray, "m"]) -> Int[ndarray, "k c"]:
        table = np.zeros((len(self.counts), int(codes.max()) + 1), int)
        np.add.at(table, (self.places, codes), 1)
        return table


def nearest_landmarks(
    learnt: Float[Tensor, "n h"], codes: Int[Tensor, "n"], asked: Float[Tensor, "m h"], count: int, seed: int
) -> Landmarks:
    """Landmarks of embeddings of series of known classes, and the nearest one to each of others."""
    centre = learnt.mean(0)
    near = normalize(asked - centre, dim=1) @ landmarks_of(normalize(learnt - centre, dim=1), codes, count, seed).T
    cosines, places = near.max(1)
    _, ranked, counts = places.unique(return_inverse=True, return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    return Landmarks(order.argsort()[ranked].numpy(), cosines.double().numpy())


def landmarks_of(units: Float[Tensor, "n h"], codes: Int[Tensor, "n"], count: int, seed: int) -> Float[Tensor, "k h"]:
    """At most `count` unit vectors that unit vectors gather about.

    They start from vectors of all classes in turn. In each step every vector is assigned to a landmark that is drawn by
    the softmax of their cosines over 0.01, and landmarks move towards the means of theirs. Dropped are those closer to
    one of more vectors than vectors are to their landmarks, as a mean of 1 - cosine.
    """
    source = generator(seed, "landmarks")
    found = units[_starts(codes, count, source)]
    for _ in range(STEPS):
        uniform = torch.rand(len(units), len(found), generator=source).clamp(1e-6, 1 - 1e-6)
        drawn = (units @ found.T / SHARPNESS - (-uniform.log()).log()).argmax(1)
        own = one_hot(drawn, len(found)).to(units)
        means = own.T @ units / own.sum(0).clamp_min(1)[:, None]
        found = normalize(torch.lerp(found, torch.where(own.any(0)[:, None], means, found), RATE), dim=1)
    cosines, places = (units @ found.T).max(1)
    counts, spread = places.bincount(minlength=len(found)), 1 - float(cosines.mean())
    kept: list[int] = []
    for k in counts.argsort(descending=True, stable=True).tolist():
        if all(1 - float(found[k] @ found[one]) > spread for one in kept):
            kept.append(k)
    return found[kept]


def _starts(codes: Int[Tensor, "n"], count: int, source: torch.Generator) -> list[int]:
    """Places of so many vectors, drawn from all classes in turn."""
    taken, order = [0] * (int(codes.max()) + 1), list[tuple[int, int]]()
    for k in torch.randperm(len(codes), generator=source).tolist():
        order.append((taken[int(codes[k])], k))
        taken[int(codes[k])] += 1
    return [k for _, k in sorted(order)[:count]]
