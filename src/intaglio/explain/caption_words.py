"""Words that are commoner in the captions of some pictures than in all of them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from jaxtyping import Int
from numpy import ndarray

WORD = re.compile(r"[^\W\d_]{2,}")
"""Two letters or more."""
JOINING = frozenset(["and", "at", "by", "for", "from", "in", "into", "of", "on", "or", "the", "to", "with", "without"])
"""Words that join others, which name nothing."""
SHOWN = 3
"""Words of a group, at most."""


def words_of(caption: str | None) -> frozenset[str]:
    """The words of a caption in small letters, without those that join others."""
    return frozenset(WORD.findall((caption or "").lower())) - JOINING


class CaptionWords:
    """The words of captions, each once a caption, in small letters."""

    def __init__(self, captions: Sequence[str | None]):
        self._words = [words_of(caption) for caption in captions]

    def of(self, members: Int[ndarray, "_"], among: Int[ndarray, "_"] | None = None) -> tuple[str, ...]:
        """The words of some pictures that stand in most captions beyond their share, at most three.

        A word of all captions is thus in none, nor is one of a single picture among several; empty where none is left.

        Args:
            members: the pictures.
            among: pictures by which the share is counted, the members among them; None takes all.
        """
        inside, around = (
            self._counts(members.tolist()),
            self._counts(range(len(self._words)) if among is None else among.tolist()),
        )
        expected = len(members) / max(len(self._words) if among is None else len(among), 1)
        several = min(2, len(members))
        surplus = {word: count - expected * around[word] for word, count in inside.items() if count >= several}
        best = sorted((word for word in surplus if surplus[word] > 1e-9), key=lambda word: (-surplus[word], word))
        return tuple(best[:SHOWN])

    def _counts(self, members: Iterable[int]) -> Counter[str]:
        return Counter(word for one in members for word in self._words[one])
