"""Training pictures of a flow: one folder, or one folder a class."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.printable import one_line
from intaglio.randomness import generator_32bit


@dataclass(frozen=True, eq=False)
class FlowPictures:
    """Pictures with their labels and the names of the classes."""

    images: ImageSet
    labels: Int64[Tensor, "n"] | None = None
    """Index into `classes`; None where there are no classes."""
    classes: tuple[str, ...] = ()
    """Names of the classes."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def fingerprint(self) -> str:
        """sha256 over names, contents and labels."""
        labels = "" if self.labels is None else ",".join(map(str, self.labels.tolist()))
        return hashlib.sha256(f"{self.images.fingerprint} {self.classes} {labels}".encode()).hexdigest()

    def relabelled(self, classes: tuple[str, ...]) -> "FlowPictures":
        """With labels that index into `classes`, a model's, which must contain all of these."""
        if self.labels is None:
            return self
        indices = torch.tensor([classes.index(name) for name in self.classes])
        return replace(self, labels=indices[self.labels], classes=classes)

    def split(self, share: float, seed: int) -> tuple[Int64[Tensor, "k"], Int64[Tensor, "h"]]:
        """Indices to train on and indices to hold out, drawn at random; a share above 0 holds out at least one.

        Raises `BadInput` where no picture would be left to train on.
        """
        order = torch.randperm(len(self), generator=generator_32bit(seed, "held out"))
        kept = max(1, round(share * len(self))) if share else 0
        if kept >= len(self):
            raise BadInput(f"{len(self)} pictures are too few to hold out {share:.0%} of; give more, or held_out 0")
        return order[kept:].sort().values, order[:kept].sort().values


def load_pictures(folder: Path, resolution: int, *, classes: bool = False, skip_bad: bool = False) -> FlowPictures:
    """The pictures of a folder, as squares of edge `resolution`; with `classes` those of its subfolders, each a class.

    Raises `BadInput` for what `ImageSet.load` refuses, and for classes where there are no subfolders.
    """
    if not classes:
        return FlowPictures(ImageSet.load(folder, resolution, skip_bad=skip_bad))
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; give the folder that holds a subfolder for each class")
    parts = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    if len(parts) < 2:
        raise BadInput(f"{folder} holds {len(parts)} subfolders; with classes give a folder with one for each class")
    sets = [ImageSet.load(part, resolution, skip_bad=skip_bad) for part in parts]
    names = tuple(one_line(part.name) for part in parts)
    counts = torch.tensor([len(images) for images in sets])
    return FlowPictures(_joined(sets, names), torch.arange(len(parts)).repeat_interleave(counts), names)


def _joined(sets: Sequence[ImageSet], prefixes: Sequence[str]) -> ImageSet:
    return ImageSet(
        torch.cat([images.pixels for images in sets]),
        tuple(f"{prefix}/{name}" for images, prefix in zip(sets, prefixes, strict=True) for name in images.names),
        tuple(caption for images in sets for caption in images.captions),
        tuple(repeat for images in sets for repeat in images.repeats),
        tuple(content for images in sets for content in images.hashes),
        tuple(f"{prefix}: {line}" for images, prefix in zip(sets, prefixes, strict=True) for line in images.warnings),
    )


def dequantised(pixels: Float[Tensor, "n 3 h w"], noise: float, source: torch.Generator) -> Float[Tensor, "n 3 h w"]:
    """Pictures of [0, 1] in [-1, 1], with Gaussian noise of this deviation, or dequantised.

    At noise 0, uniform noise of one 8-bit step: 2 (int + U[0, 1)) / 256 - 1.
    """
    if noise:
        return pixels * 2 - 1 + noise * torch.randn(pixels.shape, generator=source).to(pixels)
    levels = (pixels * 255).round()
    return 2 * (levels + torch.rand(pixels.shape, generator=source).to(pixels)) / 256 - 1
