"""Uniform sampling of rows from a stream of unknown length (a reservoir, by the smallest random keys)."""

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from numpy import ndarray

Part = tuple[pd.DataFrame, Float64[ndarray, "k"], Int64[ndarray, "k"]]
"""Rows, their keys, their positions in the stream."""


class RowSample:
    """A uniform sample of `most` rows of a stream: those with the smallest random keys.

    A row's key depends only on the seed and the row's position, so the sample does not depend on how the stream is cut
    into pieces. Little more than the sample is held in memory.
    """

    def __init__(self, most: int, seed: int):
        self.most = most
        self.seen = 0
        self._rng = np.random.default_rng(seed)
        self._limit = np.inf
        self._parts: list[Part] = []
        self._held = 0

    def add(self, piece: pd.DataFrame) -> None:
        """Takes in the next rows of the stream."""
        keys = self._rng.random(len(piece))
        positions = np.arange(self.seen, self.seen + len(piece))
        self.seen += len(piece)
        if np.isfinite(self._limit):
            inside = keys < self._limit
            piece, keys, positions = piece.loc[inside], keys[inside], positions[inside]
        self._parts.append((piece, keys, positions))
        self._held += len(piece)
        if self._held > self.most + max(self.most // 4, 1):
            self._shrink()

    def pieces(self) -> tuple[list[pd.DataFrame], Int64[ndarray, "n"]]:
        """The sampled rows in pieces, in the order of the stream, and their positions in it from 0."""
        if self._held > self.most:
            self._shrink()
        positions = [part[2] for part in self._parts] or [np.zeros(0, np.int64)]
        return [part[0] for part in self._parts], np.concatenate(positions)

    def _shrink(self) -> None:
        keys = np.concatenate([part[1] for part in self._parts])
        self._limit = float(np.partition(keys, self.most)[self.most])  # the smallest key outside the sample
        drawn = [(part, part[1] < self._limit) for part in self._parts]
        self._parts = [(f.loc[kept], k[kept], positions[kept]) for (f, k, positions), kept in drawn if kept.any()]
        self._held = sum(len(part[1]) for part in self._parts)
