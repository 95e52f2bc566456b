"""Words that are commoner in the captions of some pictures than in all of them."""

import re
from collections import Counter
from collections.abc import Sequence

from jaxtyping import Int
from numpy import ndarray

WORD = re.compile(r"[^\W\d_]{2,}")
"""Two letters or more."""
JOINING = frozenset(["and", "at", "by", "for", "from", "in", "into", "of", "on", "or", "the", "to", "with", "without"])
"""Words that join others, which name nothing."""
SHOWN = 3
"""Words of a group, at most."""


class CaptionWords:
    """The words of captions, each once a caption, in small letters."""

    def __init__(self, captions: Sequence[str | None]):
        self._words = [frozenset(WORD.findall((caption or "").lower())) - JOINING for caption in captions]
        self._all = Counter(word for words in self._words for word in words)

    def of(self, members: Int[ndarray, "k"]) -> tuple[str, ...]:
        """The words of some pictures that stand in most captions beyond their share of all captions, at most three.

        A word of every caption is thus in none, nor is one of a single picture among several; empty where none is left.
        """
        inside = Counter(word for one in members.tolist() for word in self._words[one])
        expected = len(members) / max(len(self._words), 1)
        several = min(2, len(members))
        surplus = {word: count - expected * self._all[word] for word, count in inside.items() if count >= several}
        best = sorted((word for word in surplus if surplus[word] > 1e-9), key=lambda word: (-surplus[word], word))
        return tuple(best[:SHOWN])
