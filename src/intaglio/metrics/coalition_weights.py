"""Effects of components as weighted sums of the values of coalitions: exact Shapley values, sampled ones, and simpler.

A coalition is a set of components that are switched on, written as an integer: bit i is that of component i.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from intaglio.randomness import generator


@dataclass(frozen=True, eq=False)
class CoalitionWeights:
    """The coalitions that are valued, and the weight of each value in the effect of each component."""

    coalitions: tuple[int, ...]
    """In rising order; among them none, 0, and all."""
    groups: Float64[ndarray, "g m c"]
    """Estimates of the effects [m] that are averaged, each a sum over the values of the coalitions [c]; one where
    nothing is drawn by chance."""

    @cached_property
    def mean(self) -> Float64[ndarray, "m c"]:
        """The weights of the effects themselves."""
        return self.groups.mean(0)

    @property
    def ends(self) -> tuple[int, int]:
        """Places of the coalition of none and of that of all."""
        return 0, len(self.coalitions) - 1

    @classmethod
    def of_differences(
        cls, components: int, estimates: Sequence[Sequence[Iterable[tuple[float, int, int]]]]
    ) -> "CoalitionWeights":
        """From differences v(larger) - v(smaller).

        Args:
            components: m.
            estimates: for each group and component, (weight, larger, smaller) of the differences that are summed.
        """
        estimates = [[list(one) for one in group] for group in estimates]
        asked = {0, 2**components - 1, *(c for group in estimates for one in group for _, *pair in one for c in pair)}
        place = {coalition: k for k, coalition in enumerate(sorted(asked))}
        groups = np.zeros((len(estimates), components, len(place)))
        for g, group in enumerate(estimates):
            for i, differences in enumerate(group):
                for weight, larger, smaller in differences:
                    groups[g, i, place[larger]] += weight
                    groups[g, i, place[smaller]] -= weight
        return cls(tuple(place), groups)


def shapley_weights(components: int) -> CoalitionWeights:
    """All 2^m coalitions: the effect of i is its mean difference over all orders in which components are switched on.

    With S the components before i, the share of orders is |S|! (m - |S| - 1)! / m!.
    """
    every = range(2**components)
    effects = [
        [
            (1 / (components * comb(components - 1, without.bit_count())), without | 1 << i, without)
            for without in every
            if not without >> i & 1
        ]
        for i in range(components)
    ]
    return CoalitionWeights.of_differences(components, [effects])


def sampled_shapley_weights(components: int, orders: int, seed: int) -> CoalitionWeights:
    """The same mean over `orders` orders drawn at random, an even number: each beside its reverse, which lowers the
    variance; a pair is one of the groups.
    """
    groups = []
    for pair in range(orders // 2):
        order = torch.randperm(components, generator=generator(seed, "order of components", pair)).tolist()
        effects: list[list[tuple[float, int, int]]] = [[] for _ in range(components)]
        for one in (order, order[::-1]):
            on = 0
            for i in one:
                effects[i].append((0.5, on | 1 << i, on))
                on |= 1 << i
        groups.append(effects)
    return CoalitionWeights.of_differences(components, groups)


def switched_off_weights(components: int) -> CoalitionWeights:
    """The effect of i is what is lost when it alone is switched off."""
    whole = 2**components - 1
    return CoalitionWeights.of_differences(components, [[[(1.0, whole, whole ^ 1 << i)] for i in range(components)]])


def switched_on_weights(components: int) -> CoalitionWeights:
    """The effect of i is what is won when it alone is switched on."""
    return CoalitionWeights.of_differences(components, [[[(1.0, 1 << i, 0)] for i in range(components)]])
