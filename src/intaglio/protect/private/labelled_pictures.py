"""`LabelledPictures`: pictures to learn classes from, each once, so that a guarantee for each picture holds."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """N pictures of K classes."""

    classes: tuple[str, ...]
    """Names, two or more, in the order of the labels."""
    pixels: Float[Tensor, "N 3 h w"]
    labels: Int64[Tensor, "N"]
    hashes: tuple[str, ...]
    """Of the pictures' contents."""

    def __len__(self) -> int:
        return len(self.hashes)

    @classmethod
    def of(cls, classes: Mapping[str, ImageSet]) -> "LabelledPictures":
        """Pictures by class.

        Raises `BadInput` for fewer than two classes, for one without pictures, for pictures of several sizes, and for
        one that stands twice: its copies would be protected less than the guarantee says.
        """
        if len(classes) < 2:
            raise BadInput("classes are told from each other: give two or more with --train NAME=FOLDER")
        if empty := [name for name, images in classes.items() if not len(images)]:
            raise BadInput(f"there are no pictures of {empty[0]}; give --train a folder with some")
        if len({tuple(images.pixels.shape[1:]) for images in classes.values()}) > 1:
            raise BadInput("pictures of several sizes are not learned together; read all at one resolution")
        hashes = tuple(one for images in classes.values() for one in images.hashes)
        if (copies := len(hashes) - len(set(hashes))) > 0:
            raise BadInput(
                f"{copies} of {len(hashes)} pictures {'is' if copies == 1 else 'are'} there twice, and would be "
                "protected less than the guarantee says; give each picture once, in one class"
            )
        counts = torch.tensor([len(images) for images in classes.values()])
        labels = torch.repeat_interleave(torch.arange(len(counts)), counts)
        return cls(tuple(classes), torch.cat([images.pixels for images in classes.values()]), labels, hashes)
