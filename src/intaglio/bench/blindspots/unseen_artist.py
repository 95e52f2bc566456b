"""Scene of the bench of blind spots: an artist that the base never saw, and what it draws for the captions.

A concept is the unseen artist's, or the known ones', by pictures that are not in the pairs: the sets' members and
holdouts against the same subjects by the base's artists.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from intaglio.bench.blindspots.unseen import Unseen, spread
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed


@dataclass(frozen=True, eq=False)
class UnseenArtist(Unseen):
    """Noto's pictures beside drawings of their captions; `apart` are Noto's and the known artists' of one set."""

    head: ClassVar[str] = "artist"

    @cached_property
    def real(self) -> ImageSet:
        """By the unseen artist, with captions, spread over all kinds."""
        return spread(testbed.controls_wide(), self.pairs)

    @cached_property
    def apart(self) -> tuple[ImageSet, ImageSet]:
        """Pictures of one set of subjects, none of them in the pairs: by the unseen artist, by the known ones."""
        used, own = set(self.real.hashes), dict[str, Tensor]()
        for name in testbed.sets():
            few = testbed.few_shot(name)
            for images in (few.members, few.holdouts):
                own |= {key: one for key, one in zip(images.hashes, images.pixels, strict=True) if key not in used}
        return ImageSet.from_pixels(torch.stack(list(own.values()))), testbed.real_pictures()
