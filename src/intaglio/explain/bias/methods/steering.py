"""steering: a shift of the bottleneck towards each value, the mean difference of labelled drawings."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.bias.family import BiasEditor, FoundChange, Samples
from intaglio.explain.bias.step_classifiers import fitted_classifiers
from intaglio.explain.random_shifts import random_shifts
from intaglio.runs.run import Run
from intaglio.sampling.site_edit import ValueShifts


@dataclass(frozen=True, kw_only=True)
class ValueSteering(BiasEditor):
    """A shift of a site's output towards each value, a difference of means.

    At every step h [c, h, w] becomes h + strength * (mean of h over drawings of the value - mean over the others). The
    control is a random shift of each value, as long at every step.

    Source: the directions of arXiv 2303.11073, found for each value.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the difference of the activations' means between drawings of its value and others"
    by_chance: ClassVar[str] = "random shifts of the same length"

    strength: float = 1.0
    """Of the shifts, 0 or more, where 1 is the whole difference of the means; 0 changes nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.strength < inf, f"strength must be 0 or more, and finite, not {self.strength}")

    def found(self, samples: Samples, run: Run) -> FoundChange:
        """See the class."""
        values, labels, count = samples.walks.values, samples.labels, len(samples.values)
        shifts = self.strength * torch.stack([_difference(values, labels == one) for one in range(count)])
        lengths = shifts.flatten(2).norm(dim=2)
        rows = range(count)
        by_chance = [random_shifts(lengths[[k]], shifts.shape[2:], self.seed, "control", k)[0] for k in rows]
        told = float(np.mean(fitted_classifiers(values, labels, count).accuracy))
        words = tuple(f"a shift of length {float(one.mean()):.3g}" for one in lengths)
        change, control = (ValueShifts(one, samples.timesteps) for one in (shifts, torch.stack(by_chance)))
        return FoundChange(change, control, words, told)


def _difference(values: Float[Tensor, "n s *shape"], own: Tensor) -> Float[Tensor, "s *shape"]:
    return values[own].mean(0) - values[~own].mean(0)
