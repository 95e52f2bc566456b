"""latents: what a model's autoencoder makes of pictures, averaged over a grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.explain.features.family import Asked, FeatureProbe
from intaglio.explain.features.feature_cells import FeatureCell, ProbedNetworks, pooled
from intaglio.images.image_set import ImageSet
from intaglio.models.capabilities import Encodes


@dataclass(frozen=True, kw_only=True)
class LatentProbe(FeatureProbe):
    """Labels read from the latents of a model's autoencoder.

    Features are the means of the latents' c channels over `side` x `side` cells, c side^2 numbers a picture: all that
    the denoiser is given, without what it makes of it.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "means of the autoencoder's latents over a grid"
    asks: ClassVar[Asked] = "model"
    needs: ClassVar[tuple[type, ...]] = (Encodes,)

    side: int = 8
    """Cells of a side of the grid, 1 to 32."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.side <= 32, f"side must be 1 to 32, not {self.side}")

    def cells(self, networks: ProbedNetworks) -> Sequence[FeatureCell]:
        """See the family."""
        return (FeatureCell("latents"),)

    def features(self, networks: ProbedNetworks, images: ImageSet) -> Mapping[FeatureCell, Tensor]:
        """See the family. Raises `BadInput` for latents that are no maps."""
        if networks.model is None:
            raise BadInput("there is no model whose latents could be read; give --model")
        latents = networks.model.encode(images.pixels)
        if latents.dim() != 4:
            raise BadInput(f"the latents of {networks.model.name} are no maps; take another method or model")
        return {FeatureCell("latents"): pooled(latents, self.side)}
