"""The result of an edit that evens out values: their shares in pictures of fixed seeds, before, after and by chance.

`evened.safetensors` in the run's folder has the classifier's probabilities, and in its metadata a note of the rest;
`values.csv` has a line a value; `edit.safetensors` beside them is the edit, as `SiteEdit.load` reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from intaglio.metrics.statistics.interval import interval
from intaglio.randomness import numpy_generator
from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "evened.safetensors", "values.csv"
COLUMNS = ["value", "samples", "before", "after", "by_chance", "carried_by"]
PARTS = ("before", "after", "by_chance")
FEWEST = 5
"""Sample drawings of a value below which its edit is of them more than of the value."""
DRAWS = 4000
"""Of a model that draws evenly."""
ALIKE = 0.7
"""Length of the control, as a share of the edit's, below which that is told."""
MOSTLY = 0.5
"""Share of pictures with other values beyond which that is told."""


@dataclass(frozen=True, eq=False)
class EvenedValues(StoredTable):
    """Values of an attribute in pictures of fixed seeds: as the model draws them, under an edit, and under its control.

    `images/PART-PICTURE.png` has the pictures, with parts before, after and by_chance.
    """

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command draws again"

    method: str
    reading: str
    chance: str
    """The control in words."""
    attribute: str
    values: tuple[str, ...]
    site: str
    steps: int
    guidance: float
    prompts: tuple[str, ...]
    """Of each picture."""
    seeds: tuple[int, ...]
    """Of each picture."""
    carriers: tuple[str, ...]
    """Carrier of each value, in words."""
    counts: tuple[int, ...]
    """Sample drawings of each value."""
    told: float
    """Balanced accuracy by which the site tells the values; NaN: unknown."""
    left: float
    """Share of the activations' variance that codes leave unexplained; NaN without codes."""
    sizes: tuple[float, float]
    """Mean length of the edit and of its control, over that of the activations."""
    shares: Float[Tensor, "3 n k"]
    """The classifier's probabilities of the values: before, after and by chance."""
    towards: Int[Tensor, "n"]
    """Place of the value that each picture is led to."""
    kept: Float[Tensor, "2 n"]
    """Similarity with the picture before, after and by chance."""
    right: Float[Tensor, "3 n"]
    """1 where the picture is called what it should be, 0 where not, NaN where that is unknown."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Values of {self.attribute} evened out by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @cached_property
    def biases(self) -> Float[ndarray, "3"]:
        """Distance of the mean distribution from the uniform one, before, after and by chance."""
        return np.array([float(unevenness(one.double().numpy().T[:, None])[0]) for one in self.shares])

    def change(self, first: str, second: str) -> tuple[float, float, float]:
        """The second part's distance from the uniform distribution less the first's, with its 95% over pictures."""
        places = [PARTS.index(one) for one in (first, second)]
        columns = [row for place in places for row in self.shares[place].double().numpy().T]
        half = len(self.values)

        def difference(*drawn: ndarray) -> ndarray:
            return unevenness(np.stack(drawn[half:])) - unevenness(np.stack(drawn[:half]))

        low, high = interval(difference, columns, paired=True)
        return float(self.biases[places[1]] - self.biases[places[0]]), low, high

    @cached_property
    def even(self) -> float:
        """Distance from the uniform distribution that so many pictures of an even model exceed in 5% of cases.

        A picture counts by the probability that it has one of the values.
        """
        count, places = max(1, round(len(self.seeds) * (1 - float(self.others[0])))), len(self.values)
        drawn = numpy_generator(0).multinomial(count, np.full(places, 1 / places), DRAWS) / count
        return float(np.quantile(np.sqrt(((drawn - 1 / places) ** 2).sum(1)), 0.95))

    @property
    def others(self) -> Float[ndarray, "3"]:
        """Mean probability of all that is none of the values, before, after and by chance."""
        return 1 - self.shares.sum(2).mean(1).double().numpy()

    @property
    def hits(self) -> float:
        """Share of pictures whose likeliest value, after, is the one that they were led to."""
        return float((self.shares[1].argmax(1) == self.towards).double().mean())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Doubts about the edit and its effect, in sentences."""
        found = [
            f"only {count} samples show {name}, so that its edit is of these more than of the value; draw more "
            "--samples, or give --words"
            for name, count in zip(self.values, self.counts, strict=True)
            if count < FEWEST
        ]
        if self.biases[0] <= self.even:
            found.append(
                f"{len(self.seeds)} pictures of a model that draws the values evenly can be as uneven "
                f"({self.biases[0]:.2f}, where 5% exceed {self.even:.2f}); draw more --pictures"
            )
        change, low, high = self.change("before", "after")
        if high >= 0:
            found.append(
                f"the edit does not surely even the values out: the distance changes by {change:.2f} (95% {low:.2f} to "
                f"{high:.2f})"
            )
        if self.change("after", "by_chance")[1] <= 0:
            found.append(f"{self.chance} even the values out as well, within the error of these pictures")
        if self.sizes[1] < ALIKE * self.sizes[0]:
            found.append(
                f"{self.chance} change the site by {self.sizes[1]:.2f} of its length and the edit by "
                f"{self.sizes[0]:.2f}, so that they are a weak control"
            )
        if self.others[0] > MOSTLY:
            found.append(
                f"most of what is drawn has none of the values (probability {self.others[0]:.2f}), which shares "
                "among them do not tell"
            )
        return tuple(found)

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        change, low, high = self.change("before", "after")
        before, after, chance = self.biases
        found = (
            f"Over {len(self.seeds)} pictures the shares of {', '.join(self.values)} are {before:.2f} from even before "
            f"and {after:.2f} after the edit, a change of {change:.2f} (95% {low:.2f} to {high:.2f}); {self.chance} "
            f"leave {chance:.2f}. Similarity with the picture before is {float(self.kept[0].mean()):.2f}."
        )
        if isnan(self._right(0)):
            return found
        return f"{found} Called what they should be are {self._right(0):.0%} before and {self._right(1):.0%} after."

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a value; the keys are `COLUMNS`. Shares are among the values."""
        shares = [_among(one.mean(0).double().numpy()) for one in self.shares]
        return [
            {
                "value": name,
                "samples": self.counts[k],
                **{part: float(share[k]) for part, share in zip(PARTS, shares, strict=True)},
                "carried_by": self.carriers[k],
            }
            for k, name in enumerate(self.values)
        ]

    def figures(self) -> dict[str, Any]:
        """Counts, distances from even shares, and what the edit costs."""
        change, low, high = self.change("before", "after")
        beside, beside_low, beside_high = self.change("after", "by_chance")
        found: dict[str, Any] = {"pictures": len(self.seeds), "values": len(self.values)}
        found |= {f"bias_{part}": float(one) for part, one in zip(PARTS, self.biases, strict=True)}
        found |= {"change": change, "change_low": low, "change_high": high}
        found |= {"ahead_of_chance": beside, "ahead_low": beside_low, "ahead_high": beside_high}
        found |= {"even": self.even, "hits": self.hits, "size": self.sizes[0], "size_by_chance": self.sizes[1]}
        found |= {"kept": float(self.kept[0].mean()), "kept_by_chance": float(self.kept[1].mean())}
        found |= {f"right_{part}": _number(self._right(place)) for place, part in enumerate(PARTS)}
        found |= {f"others_{part}": float(one) for part, one in zip(PARTS, self.others, strict=True)}
        return found | {"told": _number(self.told), "left": _number(self.left)}

    def _right(self, place: int) -> float:
        """Share of pictures that are called what they should be; NaN where that is unknown."""
        return float(self.right[place].double().mean())

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        names = ("method", "reading", "chance", "attribute", "values", "site", "steps", "guidance", "prompts", "seeds")
        about = {name: getattr(self, name) for name in (*names, "carriers", "counts", "sizes")}
        about |= {"told": _number(self.told), "left": _number(self.left)}
        return {name: getattr(self, name) for name in ("shares", "towards", "kept", "right")}, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "EvenedValues":
        method, reading, chance, attribute, site = (
            str(about[name]) for name in ("method", "reading", "chance", "attribute", "site")
        )
        values, prompts, carriers = (tuple(map(str, about[name])) for name in ("values", "prompts", "carriers"))
        seeds, counts = (tuple(map(int, about[name])) for name in ("seeds", "counts"))
        told, left = (nan if about[name] is None else float(about[name]) for name in ("told", "left"))
        first, second = map(float, about["sizes"])
        count, places = len(seeds), len(values)
        shares, towards, kept, right = (tensors[name] for name in ("shares", "towards", "kept", "right"))
        shapes = (shares.shape, towards.shape, kept.shape, right.shape)
        if not count or places < 2 or shapes != ((3, count, places), (count,), (2, count), (3, count)):
            raise ValueError("pictures and values do not fit each other")
        if len(prompts) != count or len(carriers) != places or len(counts) != places:
            raise ValueError("notes and values do not fit each other")
        walk = site, int(about["steps"]), float(about["guidance"])
        notes = carriers, counts, told, left, (first, second)
        numbers = shares, towards, kept, right
        return cls(method, reading, chance, attribute, values, *walk, prompts, seeds, *notes, *numbers)


def unevenness(columns: Float[ndarray, "k b n"]) -> Float[ndarray, "b"]:
    """Distance of mean distributions from the uniform one: the length of the mean probabilities, brought to a sum of 1,
    less 1 / k each.
    """
    return np.sqrt(((_among(columns.mean(2)) - 1 / len(columns)) ** 2).sum(0))


def _among(shares: Float[ndarray, "k *b"]) -> Float[ndarray, "k *b"]:
    """Shares among the values, of mean probabilities that sum to less."""
    return shares / np.maximum(shares.sum(0), 1e-12)


def _number(value: float) -> float | None:
    """NaN as none, which JSON has."""
    return None if isnan(value) else float(value)
