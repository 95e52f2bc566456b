"""Fitted heads: what they answer, how much of it a person reads, and what they are made of."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.explain.probe_scores import Codes

SHOWN, MOST_GROUPS = 6, 12
"""Pictures of a heading, and headings of an explanation, at most."""

Places = Float[ndarray, "m p d"]
"""Features of p places of each of m pictures."""


@dataclass(frozen=True)
class HeadExplanation:
    """Make-up of a head, for people: a table, pictures under headings, and heat maps."""

    text: str
    """Sentence above the table."""
    heads: tuple[str, ...] = ()
    """Of the table."""
    rows: tuple[tuple[str, ...], ...] = ()
    pictures: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Names of pictures by heading."""
    gates: tuple[tuple[str, tuple[float, ...]], ...] = ()
    """By name of a picture, weights of its places, row by row, which add up to 1."""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "HeadExplanation":
        """The inverse of `plain`."""
        pictures = tuple((str(name), tuple(map(str, those))) for name, those in stored["pictures"])
        gates = tuple((str(name), tuple(map(float, values))) for name, values in stored["gates"])
        rows = tuple(tuple(map(str, row)) for row in stored["rows"])
        return cls(str(stored["text"]), tuple(map(str, stored["heads"])), rows, pictures, gates)

    def plain(self) -> dict[str, Any]:
        """As values of JSON."""
        return asdict(self)


class FittedHead(ABC):
    """A head that was fitted to pictures."""

    @abstractmethod
    def predict(self, places: Places) -> Codes:
        """The class of each picture."""

    @abstractmethod
    def sizes(self, places: Places) -> Float[ndarray, "m"]:
        """Count of the numbers that a person reads to see why a picture is named so."""

    @abstractmethod
    def explained(self, places: Places, names: Sequence[str], truth: Codes, classes: Sequence[str]) -> HeadExplanation:
        """Make-up of the head, shown by pictures, which may be those that it was fitted to."""

    def by_level(self, places: Places) -> Sequence[Codes]:
        """Answers at each of the method's levels; none where it has none."""
        return ()


def most_of(values: Float[ndarray, "m"], names: Sequence[str], count: int = SHOWN) -> tuple[str, ...]:
    """Names of the pictures with the largest values, the first of equals first."""
    return tuple(names[int(k)] for k in np.argsort(-values, kind="stable")[:count])
