"""Pairs of a real picture and one that was generated for its prompt, and what is told of a concept by them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.images.image_set import ImageSet

Part = Literal["real", "generated", "decoded"]
EXTREME = 6
"""Pictures of a concept that are named, real and generated."""
LABELLED = 20
"""Real pictures by whose label a concept is called."""
MOST_COPIED = 8
"""Pairs that are named as copied."""


@dataclass(frozen=True, eq=False)
class PicturedPairs:
    """Pictures in pairs, with the real ones after the model's autoencoder where it is known.

    Raises `ValueError` for parts of different numbers.
    """

    names: tuple[str, ...]
    """Of the real pictures; the n pairs are told by them."""
    parts: Mapping[Part, Float[Tensor, "n 3 h w"]]
    """Pixels in [0, 1]: real, generated, and decoded where there is a control."""
    labels: Sequence[str | None] = field(default_factory=tuple)
    """Of the real pictures; none where none are known."""

    def __post_init__(self) -> None:
        if {len(self.names)} != {len(one) for one in self.parts.values()}:
            raise ValueError("the parts of pairs must have a picture for each name")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def whole(self) -> ImageSet:
        """All pictures, a name each such as `real/cat.png`."""
        names = [f"{part}/{name}" for part in self.parts for name in self.names]
        return ImageSet.from_pixels(torch.cat(list(self.parts.values())), names)

    @cached_property
    def both(self) -> ImageSet:
        """Real and generated pictures under numbers, to be taken in an order by content."""
        return ImageSet.from_pixels(torch.cat([self.parts["real"], self.parts["generated"]]))

    def places(self, part: Part) -> list[int]:
        """Places of a part's pictures in `whole`."""
        first = list(self.parts).index(part) * len(self)
        return list(range(first, first + len(self)))

    def told(self, real: Float[ndarray, "n"], generated: Float[ndarray, "n"]) -> dict[str, Any]:
        """Extreme pictures of a concept by its codes in each, and the label of the real ones that have most of it."""
        label, purity = self._label(real)
        return {
            "label": label,
            "purity": purity,
            "most_real": self._extreme(real),
            "most_generated": self._extreme(generated),
        }

    def copied(
        self, real: Float[ndarray, "n k"], generated: Float[ndarray, "n k"]
    ) -> tuple[tuple[str, float, int], ...]:
        """Pairs whose codes are nearest: name, distance, and the rank of the own real picture.

        The distance is 1 - cosine; the rank is from 1, among all real pictures by distance to the generated one.
        """
        units = [one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-12) for one in (real, generated)]
        apart = 1 - units[1] @ units[0].T
        own = np.diagonal(apart)
        ranks = 1 + (apart < own[:, None]).sum(1)
        order = np.argsort(own, kind="stable")[:MOST_COPIED]
        return tuple((self.names[k], float(max(own[k], 0)), int(ranks[k])) for k in order)

    def _extreme(self, codes: Float[ndarray, "n"]) -> tuple[str, ...]:
        order = np.argsort(-codes, kind="stable")[:EXTREME]
        return tuple(self.names[k] for k in order if codes[k] > 0)

    def _label(self, codes: Float[ndarray, "n"]) -> tuple[str | None, float | None]:
        """The label that the real pictures with most of a concept have more often than others, and how much more."""
        known = [one for one in self.labels if one is not None]
        order = [int(k) for k in np.argsort(-codes, kind="stable")[:LABELLED] if codes[k] > 0]
        best = [one for k in order if (one := self.labels[k] if self.labels else None) is not None]
        if not best:
            return None, None
        rates, base = Counter(best), Counter(known)
        gains = {name: rates[name] / len(best) - base[name] / len(known) for name in sorted(rates)}
        label = max(gains, key=lambda name: gains[name])
        return label, gains[label]
