"""Zero-order search: from neighbour to better neighbour of a noise."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.sampling.search.noise_search import Candidates, Noise, NoisePath, NoiseSearch, fresh_noise, own_noise


@dataclass(frozen=True, kw_only=True)
class ZeroOrderSearch(NoiseSearch):
    """A pivot moves to the best of m random neighbours where that is better, and stays else: a local search.

    A neighbour of x is ‖x‖ (λ x / ‖x‖ + sqrt(1 - λ²) v), with v of unit length at a right angle to x, so that its norm
    is that of x and its cosine with x is λ. The first pivot is the picture's own noise. A path has the numbers of the
    neighbours that the pivot moved to, counted over the whole search.

    Source: arXiv 2501.09732 for the search by neighbours; that they keep the norm, and that the pivot stays where none
    is better, is this version's.
    """

    neighbours: int = 4
    """Neighbours m of a round, 1 or more."""
    cosine: float = 0.95
    """Cosine λ of a neighbour with the pivot, above -1 and below 1."""

    name = "zero-order"

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be 1 or more, not {self.neighbours}")
        if not -1 < self.cosine < 1:
            raise ValueError(f"cosine must lie between -1 and 1, not {self.cosine}")

    def noise(self, seed: int, path: NoisePath, shape: Sequence[int]) -> Noise:
        """The picture's own noise, after the moves of the path."""
        x = own_noise(seed, shape)
        for number in path:
            x = neighbour(x, fresh_noise(seed, number, shape), self.cosine)
        return x

    def seek(self, candidates: Candidates) -> None:
        """Rounds of neighbours around the best so far; the last round has as many as are left."""
        pivot: NoisePath = ()
        (best,) = candidates.scores([pivot])
        number = 1
        while candidates.left:
            numbers = range(number, number + min(self.neighbours, candidates.left))
            scores = candidates.scores([(*pivot, k) for k in numbers])
            if (highest := max(scores)) > best:
                pivot, best = (*pivot, numbers[scores.index(highest)]), highest
            number = numbers.stop


def neighbour(x: Float[Tensor, "*shape"], noise: Float[Tensor, "*shape"], cosine: float) -> Float[Tensor, "*shape"]:
    """A point of the norm of x at that cosine with it, in the direction of the noise's part at a right angle to x."""
    across = noise - (noise * x).sum() / (x * x).sum() * x
    return cosine * x + (1 - cosine**2) ** 0.5 * x.norm() / across.norm() * across
