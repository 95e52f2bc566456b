"""Editors of sparse codes: settings of methods that edit codes of a site's places."""

from abc import ABC
from dataclasses import dataclass
from functools import cached_property
from math import inf

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.bias.code_dictionary import fitted_codes, forget_codes, mean_codes, random_codes
from intaglio.explain.bias.family import BiasEditor, Samples
from intaglio.explain.sparse_autoencoder import SparseSettings
from intaglio.models.sparse_codes import SparseAutoencoder
from intaglio.runs.run import Run
from intaglio.sampling.site_edit import ValueCodes, Way

MOST_NAMED = 8
"""Codes that are named in words."""


@dataclass(frozen=True, kw_only=True)
class CodeEditor(BiasEditor, ABC):
    """A method that edits codes of a sparse autoencoder of the site's places."""

    features: int = 10
    """Codes of each value that are edited, at least 1."""
    way: Way = "add"
    """add: strength times the mean of a code, where it is above 0, is added to it at every place; multiply: codes are
    scaled by the strength."""
    strength: float = 1.0
    """Of the edit, 0 or more. With add 0 changes nothing, with multiply 1."""
    expansion: int = 8
    """Codes for each channel of the site, at least 1."""
    active: int = 16
    """Codes of a place that may be above 0, at least 1."""
    updates: int = 600
    """Updates of the autoencoder, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("features", "expansion", "active", "updates"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(0 <= self.strength < inf, f"strength must be 0 or more, and finite, not {self.strength}")

    def forget(self, run: Run) -> None:
        """Drops walks and autoencoder."""
        super().forget(run)
        forget_codes(run)

    def codes(self, samples: Samples, run: Run) -> SparseAutoencoder:
        """The autoencoder of the samples."""
        count = self.expansion * samples.walks.values.shape[2]
        about = {"atoms": "free", "updates": self.updates, "seed": self.seed}
        settings = SparseSettings(concepts=count, active=min(self.active, count), **about)
        return fitted_codes(samples.walks.values, settings, run)


@dataclass(frozen=True, eq=False)
class CodeChanges:
    """Changes of chosen codes, at a method's strength."""

    method: CodeEditor
    codes: SparseAutoencoder
    samples: Samples

    @cached_property
    def means(self) -> Float[Tensor, "k"]:
        """Of each code where it is above 0."""
        return mean_codes(self.codes, self.samples.walks.values)

    def of(self, features: Int[Tensor, "v m"]) -> ValueCodes:
        """The change of these codes of each value."""
        way, strength = self.method.way, self.method.strength
        amounts = strength * self.means[features] if way == "add" else torch.full(features.shape, strength - 1.0)
        return ValueCodes(self.codes, features, amounts, way)

    def by_chance(self, taken: Int[Tensor, "v m"], label: str) -> Int[Tensor, "v m2"]:
        """As many codes that act somewhere, drawn at random, none of them taken for the value."""
        return random_codes(self.means, taken, self.method.features, self.method.seed, label)


def named(features: Int[Tensor, "v m"]) -> tuple[str, ...]:
    """Codes of each value, in words."""
    return tuple(_words(row) for row in features.tolist())


def _words(row: list[int]) -> str:
    more = f" and {len(row) - MOST_NAMED} more" if len(row) > MOST_NAMED else ""
    return f"codes {', '.join(str(one) for one in row[:MOST_NAMED])}{more}"
