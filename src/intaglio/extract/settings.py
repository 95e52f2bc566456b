"""Settings that all extraction methods share: generation, grouping and the stopping rule."""

from dataclasses import dataclass
from typing import Literal

from intaglio.errors import require
from intaglio.sampling.sampler_names import SamplerName

DEFAULT_THRESHOLD = 0.75
"""Cosine similarity."""
MOST = 1_000_000
"""Most pictures that are generated; the descriptors of more fill the memory."""


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """Settings of generation and grouping; a wrong value raises `ValueError`."""

    generations: int = 500
    """Most pictures generated, 2 or more; 50 for each picture sought is usual. The k-th has the seed `seed` plus k."""
    pictures: int | None = 10
    """Pictures sought: the assumed size of the training set, 1 to `generations`. None returns every group of three and
    more."""
    threshold: float = DEFAULT_THRESHOLD
    """Similarity, in (0, 1), from which two pictures belong together; used where `pictures` is None or 1."""
    sampler: SamplerName = "dpm++2m"
    """Sampler; published with ddim."""
    steps: int = 20
    """Sampling steps, 1 to 1000; published with 50, by ddim."""
    grouping: Literal["cliques", "complete"] = "cliques"
    """Grouping of similar pictures: the largest clique first, or complete linkage, which is quicker for many."""
    patience: int = 2
    """Rounds of 50 pictures in a row without a change of the returned pictures that end the generation early; 0 draws
    all."""
    batch: int = 20
    """Pictures generated at once, 1 or more; changes them by rounding only."""
    seed: int = 0
    """Seed of the first picture, 0 to 2**62 - 1."""

    def __post_init__(self) -> None:
        require(
            2 <= self.generations <= MOST, f"generations must be at least 2 and at most {MOST}, not {self.generations}"
        )
        require(
            self.pictures is None or 1 <= self.pictures <= self.generations,
            f"pictures must lie in 1..generations ({self.generations}), or be None, not {self._stated()}",
        )
        require(0 < self.threshold < 1, f"threshold must lie between 0 and 1, not {self.threshold}")
        require(
            self.pictures in (None, 1) or self.threshold == DEFAULT_THRESHOLD,
            "threshold acts only where pictures is None or 1, else it follows from their number; leave one of them out",
        )
        require(1 <= self.steps <= 1000, f"steps must be 1 to 1000, not {self.steps}")
        require(self.patience >= 0, f"patience must not be negative: {self.patience}")
        require(1 <= self.batch <= MOST, f"batch must be at least 1 and at most {MOST}, not {self.batch}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")

    def _stated(self) -> str:
        """The pictures sought, with a remedy where they are as many as by default."""
        usual = self.pictures == type(self).__dataclass_fields__["pictures"].default
        remedy = ", the default; name fewer with --pictures, or draw more with --generations"
        return f"{self.pictures}{remedy if usual else ''}"
