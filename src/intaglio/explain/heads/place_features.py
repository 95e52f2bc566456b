"""Features of places of pictures: what a network gives for each cell of a grid, before it is averaged."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from intaglio.errors import IntaglioError
from intaglio.explain.layer_maps import layer_maps
from intaglio.explain.picture_features import EncodedFeatures, FeatureSource, LayerFeatures
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import ResizingEncoder
from intaglio.models.module_outputs import outputs_of


@torch.no_grad()
def place_features(source: FeatureSource, images: ImageSet, side: int) -> Float[Tensor, "n p d"]:
    """Features of the places of each picture, row by row, float32 on the CPU.

    Of a classifier these are a layer's maps, the last one's where none is named; of the embedded encoder its coarsest
    maps; each averaged over a grid of at most side x side cells. Whatever else has one place, the picture itself.

    Raises `IntaglioError` for numbers that are not finite.
    """
    maps = _maps(source, images)
    if maps is None:
        return source.of(images).float()[:, None]
    found = over_grid(maps, side).cpu()
    if not bool(found.isfinite().all()):
        raise IntaglioError("the network gives numbers that are not finite; check its file")
    return found


def places_name(source: FeatureSource) -> str:
    """The numbers that `place_features` averages, in words."""
    if isinstance(source, EncodedFeatures) and isinstance(source.encoder.network, ResizingEncoder):
        return f"the coarsest maps of the encoder {source.encoder.name}"
    return source.name


def layer_read(source: LayerFeatures) -> str:
    """Name of the layer whose maps are read, the last one's where none is named; empty where there is none."""
    return source.layer or (source.scored.stage_ends[-1] if source.scored.layers else "")


def over_grid(maps: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n p c"]:
    """Means of maps over a grid of at most side x side cells, row by row."""
    return adaptive_avg_pool2d(maps.float(), min(side, *maps.shape[-2:])).flatten(2).transpose(1, 2)


def _maps(source: FeatureSource, images: ImageSet) -> Float[Tensor, "n c h w"] | None:
    """Maps of the source's network; None where it has none."""
    if isinstance(source, LayerFeatures):
        layer = layer_read(source)
        return layer_maps(source.scored, layer, images.pixels) if layer else None
    if isinstance(source, EncodedFeatures) and isinstance(source.encoder.network, ResizingEncoder):
        network, device = source.encoder.network, source.encoder.device
        with outputs_of([network.encoder.coarse]) as found:
            network(images.pixels.to(device))
        return found[-1]
    return None
