"""Credit of components: the contract of a method, which values sets of them and shares a likeness among them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.components.result import ComponentCredit, ComponentShares, Range
from intaglio.errors import BadInput, IntaglioError, require
from intaglio.metrics.coalition_weights import CoalitionWeights
from intaglio.metrics.distributions import stretched
from intaglio.metrics.resampled_distances import Distance, resampled_distances
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.verbs import FileName

LEAST_TARGETS = 2
"""Target pictures: a distance of distributions needs two."""
MOST_COMPONENTS = 16
"""Components of one audit."""

VALUES = "values"
"""State of a run: the values of the sets of components so far."""

Draws = Callable[[int], Float[Tensor, "n d"]]
"""Descriptors of the pictures that are drawn with a coalition of components switched on and the others off: bit i of
the integer says whether component i is. Picture k has the same prompt and seed whatever the coalition."""


@dataclass(frozen=True, kw_only=True)
class ComponentAudit(ABC):
    """Credit for the likeness of drawn pictures with target pictures, shared among the components of the drawing.

    The value of a set S of components is v(S) = -distance(target pictures, pictures drawn with S switched on), by the
    descriptors of an encoder. A method says of which sets pictures are drawn, and how much of v(all) - v(none) each
    component has: its effect, and as a share its effect over that difference. Shares may be negative. Intervals are of
    other seeds: the drawn pictures are resampled, the same places in every set.

    A method is a frozen dataclass of settings.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The effect in words, as the end of a sentence for people who know no formula."""

    pictures: int = 32
    """Pictures that are drawn for each set of components, from 8; the same prompts and seeds for all sets."""
    distance: Distance = "kernel"
    """Distance of the two sets of pictures: kernel (KID), which is right on average for few pictures too, or frechet
    (FID's formula), which few pictures bias."""
    resamples: int = 1000
    """Resamples of the drawn pictures for the intervals, from 100."""
    seed: int = 0
    """Seed of the drawn pictures, of resamples and of all that a method draws. From 0."""

    def __post_init__(self) -> None:
        require(self.pictures >= 8, f"pictures must be at least 8, not {self.pictures}")
        require(self.resamples >= 100, f"resamples must be at least 100, not {self.resamples}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")

    @abstractmethod
    def weights(self, components: int) -> CoalitionWeights:
        """The sets of components that are valued, and how their values add up to effects."""

    def __call__(
        self, components: Sequence[str], draws: Draws, target: Float[Tensor, "m d"], *, run: Run = Run.none()
    ) -> ComponentShares:
        """The effect and the share of each component.

        Args:
            components: names, 2 to 16.
            draws: called once for each set of components that is valued, one after another, with `pictures` rows.
            target: descriptors of the target pictures, two or more.
            run: progress and the values so far; a killed call goes on with the next set. What is drawn of one is the
                caller's to keep, until it is asked for the next.

        Raises:
            BadInput: for too few or too many components, a name given twice, and too few target pictures.
            IntaglioError: for a value that is not finite.
        """
        check_components(components)
        if len(target) < LEAST_TARGETS:
            raise BadInput(f"{len(target)} target picture is no distribution; give a folder with 2 or more to --images")
        weights = self.weights(len(components))
        values = self._values(weights, draws, target, run)
        return self._shares(tuple(components), weights, values, len(target))

    def _values(
        self, weights: CoalitionWeights, draws: Draws, target: Float[Tensor, "m d"], run: Run
    ) -> Float[np.ndarray, "r c"]:
        """Values of the coalitions: of the pictures as they were drawn, then of each resample."""
        counts, given = self._counts(), stretched(target.numpy())
        state = run.load_state(VALUES)
        found = {} if state is None else {int(name): values.numpy() for name, values in state[0].items()}
        with run.progress(len(weights.coalitions), "sets of components", len(found)) as progress:
            for coalition in weights.coalitions:
                if coalition not in found:
                    drawn = stretched(draws(coalition).numpy())
                    found[coalition] = -resampled_distances(self.distance, drawn, given, counts)
                    stored = {str(one): torch.from_numpy(values) for one, values in found.items()}
                    run.save_state(VALUES, stored, {})
                    progress.advance()
        values = np.stack([found[coalition] for coalition in weights.coalitions], 1)
        if not np.isfinite(values).all():
            raise IntaglioError("a distance of drawn pictures is not finite; take another encoder by --similarity")
        return values

    def _counts(self) -> Float[np.ndarray, "r n"]:
        """Counts of each picture: once, then by the resamples, of which each has two different pictures at least."""
        places = torch.randint(self.pictures, (self.resamples, self.pictures), generator=generator(self.seed, "seeds"))
        counts = torch.nn.functional.one_hot(places, self.pictures).sum(1).double()
        return np.concatenate([np.ones((1, self.pictures)), counts[(counts > 0).sum(1) > 1].numpy()])

    def _shares(
        self, components: tuple[str, ...], weights: CoalitionWeights, values: Float[np.ndarray, "r c"], targets: int
    ) -> ComponentShares:
        none, every = weights.ends
        totals, effects = values[:, every] - values[:, none], values @ weights.mean.T
        total = Range.of(totals)
        groups = weights.groups @ values[0]
        errors = groups.std(0, ddof=1) / len(groups) ** 0.5 if len(groups) > 1 else np.zeros(len(components))
        told = total.low > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = effects / totals[:, None]
        credits = tuple(
            ComponentCredit(name, Range.of(effects[:, i]), Range.of(shares[:, i]) if told else None, float(errors[i]))
            for i, name in enumerate(components)
        )
        by_coalition = dict(zip(weights.coalitions, map(float, values[0]), strict=True))
        return ComponentShares(
            self.name, self.reading, self.distance, self.pictures, targets, credits, total, by_coalition
        )


def check_components(names: Sequence[str]) -> None:
    """Raises `BadInput` for too few or too many components, and for two of one name."""
    if not 2 <= len(names) <= MOST_COMPONENTS:
        raise BadInput(
            f"credit is shared among 2 to {MOST_COMPONENTS} components, not {len(names)}; give each by --component "
            "NAME=KIND:VALUE"
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadInput(f"two components are called {twice[0]}; give each a name of its own")
