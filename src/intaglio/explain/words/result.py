"""The result of maps of words: for each drawn picture and word a map, and where the word's removal changes it.

`words.safetensors` in the run's folder has pictures, maps and effects, and in its metadata a note of the rest;
`words.csv` has a line a word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "words.safetensors", "words.csv"
COLUMNS = ["word", "agreement", "with_other_words", "effect"]


@dataclass(frozen=True, eq=False)
class WordMaps(StoredTable):
    """Maps of drawn pictures by one method: the places that each word of their prompt is about."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command draws again"

    method: str
    reading: str
    prompt: str
    words: tuple[str, ...]
    seeds: tuple[int, ...]
    pixels: Float[Tensor, "n 3 hp wp"]
    maps: Float[Tensor, "n k h w"]
    """By the method, 0 or more, at the size of the latents."""
    effects: Float[Tensor, "n k h w"]
    """Length of the change of the predicted clean latents without the word, a mean over the tested steps."""

    @cached_property
    def correlations(self) -> Float[np.ndarray, "n k k"]:
        """Spearman's correlation, over places, of each word's map with each word's effect; 0 for one that is flat."""
        return np.array([_rank_correlations(*pair) for pair in zip(self.maps, self.effects, strict=True)])

    @property
    def agreement(self) -> Float[np.ndarray, "n k"]:
        """Of each word's map with its own effect."""
        return np.diagonal(self.correlations, axis1=1, axis2=2)

    @property
    def with_other_words(self) -> Float[np.ndarray, "n k"]:
        """Of each word's map with the others' effects, a mean; NaN for a prompt of one word."""
        count = len(self.words)
        if count == 1:
            return np.full_like(self.agreement, np.nan)
        return (self.correlations.sum(2) - self.agreement) / (count - 1)

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Words by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        own, others = self.agreement.mean(), self.with_other_words.mean()
        beside = "" if np.isnan(others) else f", with that of other words {others:.2f}"
        return (
            f"Over {len(self.seeds)} pictures and {len(self.words)} words, a map's rank correlation with the effect of "
            f"leaving its word out is {own:.2f}{beside}."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a word; the keys are `COLUMNS`. `effect` is the mean length of the change without it."""
        own, others = self.agreement.mean(0), self.with_other_words.mean(0)
        return [
            {
                "word": word,
                "agreement": float(own[k]),
                "with_other_words": None if np.isnan(others[k]) else float(others[k]),
                "effect": float(self.effects[:, k].mean()),
            }
            for k, word in enumerate(self.words)
        ]

    def figures(self) -> dict[str, Any]:
        """Counts, and mean correlations."""
        others = float(self.with_other_words.mean())
        return {
            "pictures": len(self.seeds),
            "words": len(self.words),
            "agreement": float(self.agreement.mean()),
            "with_other_words": None if np.isnan(others) else others,
        }

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        about = {
            "method": self.method,
            "reading": self.reading,
            "prompt": self.prompt,
            "words": list(self.words),
            "seeds": list(self.seeds),
        }
        return {"pixels": self.pixels, "maps": self.maps, "effects": self.effects}, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "WordMaps":
        words, seeds = tuple(map(str, about["words"])), tuple(map(int, about["seeds"]))
        pixels, maps, effects = (tensors[name] for name in ("pixels", "maps", "effects"))
        if not words or maps.shape != effects.shape or maps.shape[:2] != (len(seeds), len(words)):
            raise ValueError("maps do not fit the words")
        method, reading, prompt = (str(about[name]) for name in ("method", "reading", "prompt"))
        return cls(method, reading, prompt, words, seeds, pixels, maps, effects)


def _rank_correlations(maps: Float[Tensor, "k h w"], effects: Float[Tensor, "k h w"]) -> Float[np.ndarray, "k k"]:
    one, other = (_standard_ranks(values.flatten(1).double().numpy()) for values in (maps, effects))
    return one @ other.T


def _standard_ranks(values: Float[np.ndarray, "k p"]) -> Float[np.ndarray, "k p"]:
    """Ranks of each row, centred, of length 1; 0 for a row of one value."""
    ranks = rankdata(values, axis=1)
    ranks = ranks - ranks.mean(1, keepdims=True)
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    return np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0)
