"""rise: the mean of random masks, weighted by the score of what they show."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.errors import require
from intaglio.explain.blank import blank_of
from intaglio.explain.family import Attribution, Attributor
from intaglio.models.scored_network import ScoredNetwork
from intaglio.randomness import generator


@dataclass(frozen=True, kw_only=True)
class RISE(Attributor):
    """RISE: the mean of random soft masks, each weighted by the score of what it shows.

    A mask is a grid of zeros and ones, each cell one with probability p, made larger than the picture bilinearly and
    moved by a random part of a cell. S = (1 / (N p)) sum_j f(x * M_j + b (1 - M_j)) M_j; a place that never matters
    has the mean score, which is why the scores' mean is taken away from them first: above 0 then raises the score.

    Source: Petsiuk, Das and Saenko, arXiv 1806.07421, with the blank b in place of black.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "random parts of the picture that show it score higher"

    masks: int = 2000
    """Random masks N, from 2: the map's noise falls with their square root."""
    grid: int = 8
    """Cells of a side of a mask, from 1: more show finer parts, and need more masks."""
    share: float = 0.5
    """Probability p that a cell is shown, between 0 and 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.masks >= 2, f"masks must be at least 2, not {self.masks}")
        require(self.grid >= 1, f"grid must be at least 1, not {self.grid}")
        require(0 < self.share < 1, f"share must lie between 0 and 1, not {self.share}")

    def attributed(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str
    ) -> Attribution:
        """See the family."""
        blank, shape = blank_of(self.blank, pixels), (pixels.shape[1], pixels.shape[2])
        scores, weighted, total = [], torch.zeros(shape), torch.zeros(shape)
        for start in range(0, self.masks, self.batch):
            numbers = range(start, min(start + self.batch, self.masks))
            masks = torch.stack([self._mask(shape, content, number) for number in numbers])
            with torch.no_grad():
                shown = masks[:, None] * pixels + (1 - masks[:, None]) * blank
                found = scored.score(shown, target).float().cpu()
            scores.append(found)
            weighted += torch.einsum("m,mhw->hw", found, masks)
            total += masks.sum(0)
        mean = torch.cat(scores).mean()
        return Attribution((weighted - mean * total) / (self.masks * self.share), self.passes(max(shape)))

    def _mask(self, shape: tuple[int, int], content: str, number: int) -> Float[Tensor, "h w"]:
        """The mask of a number: cells of the picture's size over `grid`, one more a side, cut at a random place."""
        source = generator(self.seed, "rise", content, number)
        cells = (torch.rand(1, 1, self.grid + 1, self.grid + 1, generator=source) < self.share).float()
        sizes = [-(-side // self.grid) for side in shape]
        whole = interpolate(cells, [(self.grid + 1) * size for size in sizes], mode="bilinear", align_corners=False)
        top, left = (int(torch.randint(0, size, (), generator=source)) for size in sizes)
        return whole[0, 0, top : top + shape[0], left : left + shape[1]]

    def passes(self, side: int) -> int:
        """A picture a mask."""
        return self.masks
