"""Random search: the best of independent noises."""

from collections.abc import Sequence
from dataclasses import dataclass

from intaglio.sampling.search.noise_search import Candidates, Noise, NoisePath, NoiseSearch, fresh_noise, own_noise


@dataclass(frozen=True, kw_only=True)
class RandomSearch(NoiseSearch):
    """The best of N independent noises, the picture's own among them: best-of-N.

    A path is one number of a noise.

    Source: arXiv 2501.09732.
    """

    name = "random"

    def noise(self, seed: int, path: NoisePath, shape: Sequence[int]) -> Noise:
        """The picture's own noise, or the one of that number. Raises `ValueError` for a longer path."""
        if len(path) > 1:
            raise ValueError(f"a path of random search has one number, not {len(path)}")
        return fresh_noise(seed, path[0], shape) if path else own_noise(seed, shape)

    def seek(self, candidates: Candidates) -> None:
        """All at once."""
        candidates.scores([(), *((k,) for k in range(1, candidates.left))])
