"""Sticky noise: answers whose noise is a function of the query's conditions and of the records they count."""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import UInt64
from numpy import ndarray

from intaglio.audit.queries.query_engine import Answer, Condition, EngineSettings
from intaglio.audit.queries.record_table import RecordTable
from intaglio.errors import require

UNIT = NormalDist()


@dataclass(frozen=True)
class StickyNoise(EngineSettings):
    """Sticky noise after Diffix: each condition adds a static and a dynamic term, the same whenever it is asked.

    The answer to h conditions C_1..C_h that the records U meet is |U| + sum_j static_j + sum_j dynamic_j, rounded.
    Both terms are N(0, 1): static_j follows from the salt and C_j, dynamic_j from these and U. Nothing is answered
    where |U| is below 2, or below a threshold N(4, 1/2^2) that follows from the salt and U.

    Source: Gadotti et al., "When the Signal is in the Noise: Exploiting Diffix's Sticky Noise", USENIX Security 2019,
    arXiv 1804.06752. Of the product we know what is public: that the seed of a static term is a salted hash of the
    condition is confirmed; the threshold's mean and deviation are from memory. SHA-256 in place of the product's hash,
    each row a user of its own, and no cut of answers below 0 are ours. So are conditions of = and != alone.
    """

    name: ClassVar[str] = "sticky"

    rounded: bool = True
    """Whether answers are whole numbers."""
    threshold: float = 4.0
    """Mean of the noisy threshold in records, from 0; with 0 and no spread, only counts below 2 are withheld."""
    threshold_sd: float = 0.5
    """Standard deviation of the threshold in records, from 0."""

    def __post_init__(self) -> None:
        for name in ("threshold", "threshold_sd"):
            value = getattr(self, name)
            require(0 <= value < math.inf, f"{name} must be 0 or more, and finite, not {value}")

    @property
    def sticky(self) -> Literal["rounded", "unrounded"]:
        """Whether answers are rounded, in a word."""
        return "rounded" if self.rounded else "unrounded"

    def open(self, table: RecordTable, asker: str = "") -> "StickyEngine":
        """The engine over a table; all askers are given the same answers."""
        return StickyEngine(self, table)


class StickyEngine:
    """Answers with sticky noise about one table."""

    suppresses = True

    def __init__(self, settings: StickyNoise, table: RecordTable):
        """`settings`: of the noise; `table`: whose rows are the records."""
        self.settings, self.table = settings, table
        self._users = _users(settings.salt, len(table))

    def count(self, conditions: Collection[Condition]) -> Answer:
        """The noisy count, or none where the records are too few."""
        asked = sorted(set(conditions))
        met = np.ones(len(self.table), bool)
        for one in asked:
            having = self.table.having(one.column, one.value)
            met &= having if one.sign == "=" else ~having
        rows = np.flatnonzero(met)
        users = np.bitwise_xor.reduce(self._users[rows], axis=0).tobytes()  # whatever the order of the records
        drawn = _normal(self._seed(b"threshold", users))
        if len(rows) < max(2, self.settings.threshold + self.settings.threshold_sd * drawn):
            return Answer(None, "suppressed")
        noise = 0.0
        for one in asked:
            seed = self._seed(b"static", one.text.encode(errors="surrogatepass"))
            noise += _normal(seed) + _normal(hashlib.sha256(seed + users).digest())
        noisy = len(rows) + noise
        return Answer(float(math.floor(noisy + 0.5)) if self.settings.rounded else noisy)

    def _seed(self, label: bytes, content: bytes) -> bytes:
        return _seed(self.settings.salt, label, content)


def _seed(salt: str, label: bytes, content: bytes) -> bytes:
    """SHA-256 over a salt, a label and a content, of which no two give the same text."""
    known = salt.encode(errors="surrogatepass")
    return hashlib.sha256(b"%d:" % len(known) + known + label + b":" + content).digest()


@lru_cache(maxsize=4)
def _users(salt: str, count: int) -> UInt64[ndarray, "n 4"]:
    """A hash of each record, of 256 bits; read-only."""
    digests = b"".join(_seed(salt, b"user", str(row).encode()) for row in range(count))
    return np.frombuffer(digests, np.uint64).reshape(count, 4)


def _normal(seed: bytes) -> float:
    """A draw from N(0, 1) by a seed of 8 bytes or more: the quantile of a uniform number of 52 bits."""
    return UNIT.inv_cdf(((int.from_bytes(seed[:8], "big") >> 12) + 0.5) / 2**52)
