"""`PictureSources`: pictures of several known sources, and their division into those that teach and those held out."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.randomness import seed_32bit

FEWEST = 4
"""Pictures of a source, at least."""


@dataclass(frozen=True, eq=False)
class PictureSources:
    """All pictures of K sources in one set, each under `SOURCE/NAME`."""

    names: tuple[str, ...]
    """Of the sources, K of them, in alphabetical order."""
    images: ImageSet
    labels: Int[Tensor, "n"]
    """The place of each picture's source among `names`."""

    @classmethod
    def of(cls, sources: Mapping[str, ImageSet]) -> "PictureSources":
        """The pictures by their source's name.

        Raises `BadInput` for less than two sources, one of less than four pictures, pictures of different sizes, and
        a picture that is in two places.
        """
        if len(sources) < 2:
            raise BadInput("sources are told from each other, so give two or more with --source NAME=FOLDER")
        names = tuple(sorted(sources))
        sets = [sources[name] for name in names]
        for name, images in zip(names, sets, strict=True):
            if len(images) < FEWEST:
                raise BadInput(f"the source {name} has {len(images)} pictures; give {FEWEST} or more, better hundreds")
        sizes = {name: tuple(images.pixels.shape[2:]) for name, images in zip(names, sets, strict=True)}
        if len({*sizes.values()}) > 1:
            told = " and ".join(f"{height}x{width} of {name}" for name, (height, width) in list(sizes.items())[:2])
            raise BadInput(f"pictures of different sizes ({told}) give their source away; read all at one resolution")
        first: dict[str, str] = {}
        for name, images in zip(names, sets, strict=True):
            for content, picture in zip(images.hashes, images.names, strict=True):
                before = first.setdefault(content, f"{name}/{picture}")
                if before != f"{name}/{picture}":
                    raise BadInput(
                        f"{before} and {name}/{picture} are the same picture, so that one would teach what the other "
                        "tests; leave one out"
                    )
        whole = ImageSet(
            torch.cat([images.pixels for images in sets]),
            tuple(f"{name}/{one}" for name, images in zip(names, sets, strict=True) for one in images.names),
            tuple(caption for images in sets for caption in images.captions),
            tuple(times for images in sets for times in images.repeats),
            tuple(content for images in sets for content in images.hashes),
        )
        return cls(names, whole, torch.tensor([k for k, images in enumerate(sets) for _ in images.names]))

    def __len__(self) -> int:
        return len(self.images)

    def some(self, places: list[int]) -> "PictureSources":
        """The same sources with the pictures at these places."""
        return PictureSources(self.names, self.images[places], self.labels[places])

    def divided(self, share: float, seed: int) -> "tuple[PictureSources, PictureSources]":
        """Pictures that teach, and pictures that are held out: of each source about `share`, one at least.

        Pictures of one caption stay together, in all sources; a picture without a caption stands for itself. Captions,
        or contents, are held out in an order that follows from the seed, until every source has its share, so that
        one may come to more. Neither names nor their order matter.

        Args:
            share: of the held-out pictures, in (0, 1).
            seed: of the order.

        Raises `BadInput` where all pictures of a source have one caption.
        """
        count = len(self.names)
        groups: dict[tuple[int, str], list[list[int]]] = {}
        for place, (content, caption) in enumerate(zip(self.images.hashes, self.images.captions, strict=True)):
            key = caption or content
            of_sources = groups.setdefault((seed_32bit(seed, "held out", key), key), [[] for _ in range(count)])
            of_sources[int(self.labels[place])].append(place)
        sizes = torch.bincount(self.labels, minlength=count).tolist()
        wanted, taken = [max(1, round(share * size)) for size in sizes], [0] * count
        held: list[int] = []
        for _, places in sorted(groups.items()):
            short = any(part and taken[k] < wanted[k] for k, part in enumerate(places))
            leaves = all(not part or taken[k] + len(part) < sizes[k] for k, part in enumerate(places))
            if short and leaves:
                held += [place for part in places for place in part]
                taken = [before + len(part) for before, part in zip(taken, places, strict=True)]
        if empty := [name for name, number in zip(self.names, taken, strict=True) if not number]:
            raise BadInput(
                f"the pictures of the source {empty[0]} have so few captions that none can be held out; give pictures "
                "of several prompts, or without captions"
            )
        kept = sorted({*range(len(self))} - {*held})
        return self.some(kept), self.some(sorted(held))
