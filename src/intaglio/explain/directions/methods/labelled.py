"""labelled: the mean difference of two groups of drawings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.directions.family import Found, SampledDirections
from intaglio.explain.site_walks import SiteWalks
from intaglio.randomness import seed_32bit


@dataclass(frozen=True, kw_only=True)
class LabelledDirection(SampledDirections):
    """The mean difference of a site's activations between two groups of drawings, at every step.

    With `words`, the groups are the prompts with either text behind them, from the same noise; else the half of the
    drawings that the classifier gives the class most, and the other half. The groups' means of h_t [n, c, h, w] differ
    by v_t, and the edit is h_t + alpha v_t. Of classes to be held apart, with differences V of their own halves,
    v - V (V^T V)^-1 V^T v is left.

    Source: arXiv 2303.11073, whose groups are drawings that a classifier labels; groups by words are ours.
    """

    reading: ClassVar[str] = "the difference of the activations' means between two groups of drawings"
    unit: ClassVar[str] = "the whole difference between the groups' means"

    site: str = "mid_block"
    """Module of the denoiser whose output is shifted, such as mid_block or up_blocks.0."""
    words: tuple[str, ...] = ()
    """Two texts, either of which follows every prompt, such as ", noto style" and ", fluent style": the direction leads
    from the second to the first. None: the groups are by the classifier's score of --target."""
    apart: tuple[str, ...] = ()
    """Further classes, as HEAD:CLASS of the classifier, such as "kind:Food & Drink", whose directions are projected
    out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.words) in (0, 2), f"words must be two texts, not {len(self.words)}")
        require(not self.words or len(set(self.words)) == 2, "words must be two different texts")
        require(not self.words or self.samples % 2 == 0, f"samples must be even with words, not {self.samples}")

    @property
    def place(self) -> str:
        """The site."""
        return self.site

    @property
    def asked_classes(self) -> tuple[str, ...]:
        """Those to be held apart."""
        return self.apart

    @property
    def wants_judge(self) -> bool:
        """True without words, and for classes to be held apart."""
        return not self.words or bool(self.apart)

    def texts(self, prompts: Sequence[str]) -> list[str]:
        """The prompt of each sample; with words, neighbours are a pair."""
        if not self.words:
            return super().texts(prompts)
        return [f"{prompts[k // 2 % len(prompts)]}{self.words[k % 2]}" for k in range(self.samples)]

    def sample_seeds(self) -> list[int]:
        """The seed of each sample; with words, that of a pair is one."""
        pair = 2 if self.words else 1
        return [seed_32bit(self.seed, "directions", k // pair) for k in range(self.samples)]

    def shifts(self, walks: SiteWalks, scores: Mapping[str, Float[ndarray, "n"]], target: str | None) -> Found:
        """See the class."""
        more = np.arange(len(walks)) % 2 == 0 if self.words else upper_half(scores[str(target)])
        found = _difference(walks.values, more)
        others = [_difference(walks.values, upper_half(scores[name])) for name in self.apart]
        if others:
            found = without(found, torch.stack(others))
        return found[None], [nan]


def upper_half(scores: Float[ndarray, "n"]) -> Bool[ndarray, "n"]:
    """The half of rows with the larger scores; of equal ones the first."""
    found = np.zeros(len(scores), dtype=bool)
    found[np.argsort(-scores, kind="stable")[: len(scores) // 2]] = True
    return found


def without(shifts: Float[Tensor, "s *shape"], others: Float[Tensor, "m s *shape"]) -> Float[Tensor, "s *shape"]:
    """Shifts without what lies in the span of others, step by step."""
    rows, basis = shifts.flatten(1).double(), others.flatten(2).double().permute(1, 2, 0)
    # SVD, as two of the others may be all but one.
    weights = torch.linalg.lstsq(basis, rows[..., None], driver="gelsd").solution
    return (rows - (basis @ weights)[..., 0]).reshape(shifts.shape).float()


def _difference(values: Float[Tensor, "n s *shape"], more: Bool[ndarray, "n"]) -> Float[Tensor, "s *shape"]:
    rows = torch.from_numpy(more)
    return values[rows].mean(0) - values[~rows].mean(0)
