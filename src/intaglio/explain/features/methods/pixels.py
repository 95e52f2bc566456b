"""pixels: the pictures themselves, averaged over a coarse grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from intaglio.errors import require
from intaglio.explain.features.family import Asked, FeatureProbe
from intaglio.explain.features.feature_cells import FeatureCell, ProbedNetworks, pooled
from intaglio.images.image_set import ImageSet


@dataclass(frozen=True, kw_only=True)
class PixelProbe(FeatureProbe):
    """Labels read from the pixels, averaged over a coarse grid.

    Features are the means of the three colours over `side` x `side` cells, 3 side^2 numbers a picture. What they tell,
    no network is needed for.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "means of pixels over a coarse grid"
    asks: ClassVar[Asked] = "nothing"

    side: int = 8
    """Cells of a side of the grid, 1 to 32."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.side <= 32, f"side must be 1 to 32, not {self.side}")

    def cells(self, networks: ProbedNetworks) -> Sequence[FeatureCell]:
        """See the family."""
        return (FeatureCell("pixels"),)

    def features(self, networks: ProbedNetworks, images: ImageSet) -> Mapping[FeatureCell, Tensor]:
        """See the family."""
        return {FeatureCell("pixels"): pooled(images.pixels, self.side)}

    def calls(self, networks: ProbedNetworks) -> int:
        """See the family: none."""
        return 0
