"""caption-keywords: words that stand in the captions of wrong answers more than in those of right ones."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.errors import BadInput, require
from intaglio.explain.caption_words import words_of
from intaglio.explain.slices.family import Membership, PictureSlice, SliceFinder
from intaglio.explain.slices.judged_rows import JudgedRows


@dataclass(frozen=True, kw_only=True)
class CaptionKeywords(SliceFinder):
    """Pictures whose caption has a word that wrong answers have more often than right ones.

    A word's score is its shrunken share among wrong answers less that among right ones, (a + p k) / (n + k) with p its
    share among all and k = `shrinkage`. Looks are not asked, so that `masked` makes no difference.

    Source: after Bias-to-Text, arXiv 2301.10104, which writes captions and compares words with pictures by CLIP; here
    captions are given, and counted.
    """

    reading: ClassVar[str] = "the pictures with a word in their caption"

    shrinkage: float = 10.0
    """Pictures k that a word's share is shrunk by, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.shrinkage >= 0, f"shrinkage must be 0 or more, not {self.shrinkage}")

    def find(self, rows: JudgedRows) -> Sequence[PictureSlice]:
        """See the class. Raises `BadInput` for pictures without captions."""
        words = [words_of(one) for one in rows.captions]
        if not any(words):
            raise BadInput("the pictures have no captions to find words in; give captions, or a method such as domino")
        sides = rows.wrong.astype(int)
        counts = [Counter(w for one, side in zip(words, sides, strict=True) if side == k for w in one) for k in (0, 1)]
        sizes = [int((sides == k).sum()) for k in (0, 1)]
        scores = {}
        for word in sorted(counts[1]):
            share = (counts[0][word] + counts[1][word]) / len(rows)
            right, wrong = (
                (counts[k][word] + share * self.shrinkage) / max(sizes[k] + self.shrinkage, 1e-12) for k in (0, 1)
            )
            scores[word] = wrong - right
        best = sorted((word for word in scores if scores[word] > 0), key=lambda word: (-scores[word], word))
        return [PictureSlice(f"the word {word}", _ranked(word), _having(word)) for word in best[: self.slices]]


def _having(word: str) -> Callable[[JudgedRows], Bool[ndarray, "n"]]:
    def found(rows: JudgedRows) -> Bool[ndarray, "n"]:
        return np.array([word in words_of(one) for one in rows.captions])

    return found


def _ranked(word: str) -> Membership:
    def found(rows: JudgedRows) -> Float[ndarray, "n"]:
        return _having(word)(rows) * (1 + rows.wrong) / 2

    return found
