"""What every extraction shares: how many pictures are drawn, how, and when they are enough."""

from dataclasses import dataclass
from typing import Literal

from intaglio.sampling.sampler_names import SamplerName

THRESHOLD = 0.75


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """Pictures drawn from a suspect, and the groups that they fall into; a wrong value raises `ValueError`."""

    generations: int = 500
    """Pictures drawn at most, 50 for each picture that is sought; the k-th with the seed `seed` plus k."""
    pictures: int | None = 10
    """Pictures sought: how many the suspect is thought to have been tuned on. None where nobody knows, which returns
    every group of three and more."""
    threshold: float = THRESHOLD
    """Where `pictures` is None or 1: the similarity, in (0, 1), from which two pictures are alike."""
    sampler: SamplerName = "dpm++2m"
    """How the noise is taken out; published with ddim."""
    steps: int = 20
    """Timesteps taken of each picture, 1 to 1000; published with 50, by ddim."""
    grouping: Literal["cliques", "complete"] = "cliques"
    """How alike pictures become groups: the largest clique first, or complete linkage, which is quicker for many."""
    patience: int = 2
    """Stop before all are drawn when the returned pictures were the same in so many rounds of 50 one after another;
    0 draws all."""
    batch: int = 20
    """Pictures drawn at once; less memory, the same pictures up to rounding."""
    seed: int = 0
    """Of the first picture."""

    def __post_init__(self) -> None:
        _require(self.generations >= 2, f"generations must be at least 2, not {self.generations}")
        _require(
            self.pictures is None or 1 <= self.pictures <= self.generations,
            f"pictures must lie in 1..generations ({self.generations}), or be None: {self.pictures}",
        )
        _require(0 < self.threshold < 1, f"threshold must lie between 0 and 1, not {self.threshold}")
        _require(
            self.pictures in (None, 1) or self.threshold == THRESHOLD,
            "threshold acts only where pictures is None or 1, else it follows from their number; leave one of them out",
        )
        _require(1 <= self.steps <= 1000, f"steps must be 1 to 1000, not {self.steps}")
        _require(self.patience >= 0, f"patience must not be negative: {self.patience}")
        _require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        _require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)
