"""Features of pictures that a map is made from: of an encoder, a classifier's layer, or a table."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.errors import IntaglioError
from intaglio.explain.layer_maps import layer_maps
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.scored_network import ScoredNetwork
from intaglio.runs.plain_json import digest
from intaglio.runs.tensors import tensor_hash


class FeatureSource(ABC):
    """A way to numbers of a picture, between which Euclidean distance says how alike pictures are."""

    @property
    @abstractmethod
    def name(self) -> str:
        """In words, as what a map is made from."""

    @property
    @abstractmethod
    def hash(self) -> str:
        """64 hex digits that change with the numbers."""

    @abstractmethod
    def of(self, images: ImageSet) -> Float[Tensor, "n d"]:
        """Features of pictures, float32 on the CPU. Raises `IntaglioError` for numbers that are not finite."""


@dataclass(frozen=True, eq=False)
class EncodedFeatures(FeatureSource):
    """Descriptors of an encoder, of unit length."""

    encoder: Embedding

    @property
    def name(self) -> str:
        """The encoder's."""
        return f"descriptors of the encoder {self.encoder.name}"

    @property
    def hash(self) -> str:
        """The encoder's."""
        return self.encoder.hash

    def of(self, images: ImageSet) -> Float[Tensor, "n d"]:
        """See the class."""
        return self.encoder.embed(images.pixels)


@dataclass(frozen=True, eq=False)
class LayerFeatures(FeatureSource):
    """Maps of a classifier's layer, averaged over places; without a layer, the numbers that its head takes."""

    scored: ScoredNetwork
    layer: str = ""

    @property
    def name(self) -> str:
        """The layer's."""
        return f"mean maps of layer {self.layer} of the network" if self.layer else "what the network's head takes"

    @property
    def hash(self) -> str:
        """Of the network and the layer's name."""
        return digest([self.scored.hash, self.layer])

    @torch.no_grad()
    def of(self, images: ImageSet) -> Float[Tensor, "n d"]:
        """See the class."""
        if not self.layer:
            found = self.scored.features(images.pixels)
        else:
            found = layer_maps(self.scored, self.layer, images.pixels).mean((2, 3))
        if not bool(found.isfinite().all()):
            raise IntaglioError("the network gives numbers that are not finite; check its file")
        return found.float().cpu()


class TabledFeatures(FeatureSource):
    """Features that are given, a row a picture.

    Args:
        names: of pictures.
        rows: finite numbers [n, d], in the same order.
        told: of the numbers, in words.
    """

    def __init__(self, names: Sequence[str], rows: Float[ndarray, "n d"], told: str = "given features"):
        given = torch.from_numpy(rows).float()
        self._rows = dict(zip(names, given, strict=True))
        self._told = told
        self._hash = digest([list(names), tensor_hash(given)])

    @property
    def name(self) -> str:
        """In words."""
        return self._told

    @property
    def hash(self) -> str:
        """Of names and numbers."""
        return self._hash

    def of(self, images: ImageSet) -> Float[Tensor, "n d"]:
        """See the class."""
        return torch.stack([self._rows[name] for name in images.names])
