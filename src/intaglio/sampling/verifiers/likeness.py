"""Likeness of a picture with given ones, by an encoder: a detector of copies, and no measure of quality."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding, NoDescriptorError


@dataclass(frozen=True, eq=False)
class Likeness:
    """Highest cosine of a picture's descriptor with those of given pictures, in [-1, 1]."""

    encoder: Embedding
    given: ImageSet
    """Pictures, at least one."""
    name: str = "like"
    differentiable: bool = False
    calls: int = 0

    @property
    def hash(self) -> str:
        return hashlib.sha256("\n".join([self.encoder.hash, *sorted(self.given.hashes)]).encode()).hexdigest()

    def __call__(self, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """The cosine of each picture; NaN for one that the encoder has no finite answer to."""
        return torch.cat([self._score(picture[None]) for picture in pixels])

    @cached_property
    def _known(self) -> Tensor:
        return self.encoder.embed(self.given.pixels)

    def _score(self, picture: Tensor) -> Tensor:
        try:
            return (self.encoder.embed(picture) @ self._known.T).max(1).values.float()
        except NoDescriptorError:
            return torch.full((1,), torch.nan)
