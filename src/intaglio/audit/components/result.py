"""The result of an audit of components: each one's effect and share with intervals; stored and read again.

`components.json` in the run's folder:

    {"method", "reading", "distance", "drawn", "targets",
     "components": [{"name", "effect": [value, low, high], "share": [value, low, high] or null, "error"}, ...],
     "total": [value, low, high], "values": {coalition: value, ...}, "pictures": {coalition: [path, ...], ...}}

A coalition is a set of components, written as an integer: bit i is that of component i.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.files import atomic_write
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv

FILE, TABLE = "components.json", "components.csv"
COLUMNS = ["component", "effect", "effect_low", "effect_high", "share", "share_low", "share_high", "sampling_error"]


class Range(NamedTuple):
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Float[ndarray, "r"]) -> "Range":
        """The first value, with the quantiles of the others."""
        low, high = np.quantile(values[1:], (0.025, 0.975))
        return cls(float(values[0]), float(low), float(high))


@dataclass(frozen=True)
class ComponentCredit:
    """One component."""

    name: str
    effect: Range
    """What it adds to the value, in units of the distance; higher for more likeness with the target pictures."""
    share: Range | None
    """Its effect over that of all components together; None where that is not above 0 beyond its interval."""
    error: float
    """Standard error by the draws of the method itself, such as orders of components; 0 where it draws none."""


@dataclass(frozen=True)
class ComponentShares(ResultTable):
    """The credit of the components of a drawing for its likeness with target pictures, by one method."""

    method: str
    reading: str
    """The effect in words, as the end of a sentence."""
    distance: str
    """By which sets of pictures are valued: kernel or frechet."""
    drawn: int
    """Pictures drawn for each set of components."""
    targets: int
    components: tuple[ComponentCredit, ...]
    total: Range
    """Value of all components less that of none."""
    values: Mapping[int, float]
    """Of the sets of components that pictures were drawn of."""
    pictures: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Stored pictures of some of these sets, as paths below the run's folder."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Components by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def names(self) -> tuple[str, ...]:
        """Of the components."""
        return tuple(one.name for one in self.components)

    def words(self, coalition: int) -> str:
        """A set of components in words."""
        on = [name for i, name in enumerate(self.names) if coalition >> i & 1]
        if len(on) == len(self.names):
            return "all"
        return " + ".join(on) or "none"

    @property
    def statement(self) -> str:
        """The outcome in a sentence or two."""
        low, high = self.total.low, self.total.high
        if low <= 0:
            told = "further from" if high < 0 else "neither nearer to nor further from"
            return (
                f"With all components the drawn pictures are {told} the target pictures than with none, as far as "
                f"{self.drawn} pictures tell; there is no likeness to share out."
            )
        first = max(self.components, key=lambda one: one.effect.value)
        if first.effect.value <= 0:
            return "All components together bring the drawn pictures nearer, and no one of them has a share above 0."
        said = f"Of the likeness that all components add, {first.name} has the largest share, {_percent(first)}."
        sure = [one.name for one in self.components if one.share is not None and one.share.low > 0]
        if len(sure) < len(self.components):
            named = " and ".join(sure) or "none"
            said += f" Above 0 beyond the interval: {named}."
        return said

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a component, the largest effect first; the keys are `COLUMNS`."""
        return [
            {
                "component": one.name,
                **_spread("effect", one.effect),
                **_spread("share", one.share),
                "sampling_error": one.error,
            }
            for one in sorted(self.components, key=lambda one: -one.effect.value)
        ]

    def figures(self) -> dict[str, Any]:
        """The value that all components add, and the shares by name."""
        return {
            "statement": self.statement,
            "drawn": self.drawn * len(self.values),
            "total": self.total.value,
            "total_interval": [self.total.low, self.total.high],
            "shares": {one.name: None if one.share is None else one.share.value for one in self.components},
        }

    def save(self, folder: Path) -> None:
        """Writes `components.csv` and `components.json`, each atomically."""
        stored = {
            "method": self.method,
            "reading": self.reading,
            "distance": self.distance,
            "drawn": self.drawn,
            "targets": self.targets,
            "components": [vars(one) for one in self.components],
            "total": self.total,
            "values": {str(coalition): value for coalition, value in self.values.items()},
            "pictures": {str(coalition): paths for coalition, paths in self.pictures.items()},
        }
        atomic_write(Path(folder) / TABLE, rows_csv(self.rows(), COLUMNS))
        atomic_write(Path(folder) / FILE, to_json(stored, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "ComponentShares | None":
        """The result stored in a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        return load_result(Path(folder) / FILE, cls.from_dict, "audit of components")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ComponentShares":
        """The inverse of what `save` writes. Raises `ValueError` for a coalition of components that there are not."""
        components = tuple(
            ComponentCredit(
                str(one["name"]),
                _range(one["effect"]),
                None if one["share"] is None else _range(one["share"]),
                float(one["error"]),
            )
            for one in stored["components"]
        )
        values = {int(coalition): float(value) for coalition, value in stored["values"].items()}
        pictures = {int(one): tuple(map(str, paths)) for one, paths in stored["pictures"].items()}
        if any(not 0 <= one < 2 ** len(components) for one in (*values, *pictures)):
            raise ValueError("a set has components that there are not")
        words = (str(stored["method"]), str(stored["reading"]), str(stored["distance"]))
        counts = (int(stored["drawn"]), int(stored["targets"]))
        return cls(*words, *counts, components, _range(stored["total"]), values, pictures)


def _range(stored: Sequence[Any]) -> Range:
    value, low, high = map(float, stored)
    return Range(value, low, high)


def _spread(name: str, found: Range | None) -> dict[str, float | None]:
    value, low, high = (None, None, None) if found is None else found
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _percent(one: ComponentCredit) -> str:
    share = one.share
    return "-" if share is None else f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"
