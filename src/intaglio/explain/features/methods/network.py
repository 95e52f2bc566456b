"""network: descriptors of an encoder, or the layers of a classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.explain.features.family import Asked, FeatureProbe
from intaglio.explain.features.feature_cells import FeatureCell, ProbedNetworks, pooled
from intaglio.explain.layer_maps import layer_maps
from intaglio.explain.picture_features import EncodedFeatures, LayerFeatures
from intaglio.images.image_set import ImageSet

DESCRIPTOR, HEAD = FeatureCell("descriptor"), FeatureCell("input of the head")


@dataclass(frozen=True, kw_only=True)
class NetworkProbe(FeatureProbe):
    """Labels read from an encoder's descriptors or a classifier's layers.

    Of an encoder the features are its descriptors, of unit length. Of a classifier they are the maps of each layer,
    averaged over `pool` x `pool` cells, and the numbers that its head takes. A classifier that was trained on the very
    labels says how well they can be read at best, not what a network knows without them.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "descriptors of an encoder, or means of a classifier's maps over a grid"
    asks: ClassVar[Asked] = "network"

    layers: tuple[str, ...] = ()
    """Modules of the classifier, such as stages.3; none takes the last of each size of maps."""
    pool: int = 2
    """Cells of a side of the grid that maps are averaged over, 1 to 16."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.pool <= 16, f"pool must be 1 to 16, not {self.pool}")

    def cells(self, networks: ProbedNetworks) -> Sequence[FeatureCell]:
        """See the family."""
        if networks.scored is None:
            if self.layers:
                raise BadInput("layers are of a classifier, and descriptors of an encoder have none; give --network")
            return (DESCRIPTOR,)
        for layer in self.layers:
            networks.scored.layer(layer)
        return (*(FeatureCell(layer) for layer in self.layers or networks.scored.stage_ends), HEAD)

    def features(self, networks: ProbedNetworks, images: ImageSet) -> Mapping[FeatureCell, Tensor]:
        """See the family."""
        scored = networks.scored
        if scored is None:
            if networks.encoder is None:
                raise BadInput("there is no encoder whose descriptors could be read; give --network")
            return {DESCRIPTOR: EncodedFeatures(networks.encoder).of(images)}
        *layers, _ = self.cells(networks)
        found = {one: pooled(layer_maps(scored, one.site, images.pixels), self.pool) for one in layers}
        return {**found, HEAD: LayerFeatures(scored).of(images)}

    def calls(self, networks: ProbedNetworks) -> int:
        """See the family."""
        return len(self.cells(networks))
