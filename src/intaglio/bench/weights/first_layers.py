"""Small classifiers of artists, whose first layer is learned, drawn at random, or a designed bank."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from intaglio.bench.kit.taught_classifier import taught
from intaglio.explain.weights.filter_banks import BANKS
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier, new_classifier
from intaglio.randomness import generator, numpy_generator

LEARNED, RANDOM = "learned", "random"
FIRST_LAYERS = (LEARNED, *BANKS, RANDOM)
ATOMS, COLOURS = 9, 3
"""Filters of a bank that are taken, each on every colour."""
WIDTHS = (ATOMS * COLOURS, 32, 64)
HEAD, FOLDS = "artist", 5


@dataclass(frozen=True)
class ArtistPictures:
    """Pictures with the place of their artist."""

    images: ImageSet
    labels: tuple[int, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, images: ImageSet) -> "ArtistPictures":
        """Pictures whose captions end with ", ARTIST style"."""
        said = [str(one).rsplit(",", 1)[-1].strip() for one in images.captions]
        classes = tuple(sorted(set(said)))
        return cls(images, tuple(map(classes.index, said)), classes)

    def folds(self, seed: int) -> Int[ndarray, "n"]:
        """The fold of each picture: those of one subject, the caption's first part, lie in the same."""
        subjects = [str(one).rsplit(",", 1)[0] for one in self.images.captions]
        names = sorted(set(subjects))
        place = dict(zip(names, numpy_generator(seed, 0).permutation(len(names)) % FOLDS, strict=True))
        return np.array([place[one] for one in subjects])


def answers(given: ArtistPictures, first: str, size: int, epochs: int, seed: int) -> list[bool]:
    """Whether each picture is called by its artist, by a classifier that learned from the other folds."""
    folds, labels = given.folds(seed), torch.tensor(given.labels)
    right = torch.zeros(len(labels), dtype=torch.bool)
    for fold in range(FOLDS):
        outside = torch.from_numpy(folds != fold)
        net = classifier(first, size, given.classes, seed)
        taught(net, HEAD, given.images.pixels[outside], labels[outside], epochs, seed)
        with torch.no_grad():
            called = net(given.images.pixels[~outside])[HEAD].argmax(1)
        right[~outside] = called == labels[~outside]
    return right.tolist()


def classifier(first: str, size: int, classes: Sequence[str], seed: int) -> PictureClassifier:
    """An untrained classifier; of its first layer, all but a learned one stays as it is."""
    net = new_classifier({HEAD: tuple(classes)}, seed, WIDTHS, (1, 1, 1))
    block = net.stages.get_submodule("0.0")
    weights, learns = first_kernels(first, size, seed), first == LEARNED
    layer = nn.Conv2d(COLOURS, WIDTHS[0], size, stride=2, padding=size // 2, bias=False)
    layer.weight = nn.Parameter(weights, requires_grad=learns)
    block.register_module("0", layer)
    return net


def first_kernels(first: str, size: int, seed: int) -> Float[Tensor, "o 3 k k"]:
    """Kernels of a first layer, of squared length 2 each; of a bank, each filter on every colour."""
    count = ATOMS * COLOURS
    if first in BANKS:
        atoms = torch.from_numpy(BANKS[first](size, size)[:ATOMS]).float()
        kernels = torch.einsum("aij,cd->acdij", atoms, torch.eye(COLOURS)).flatten(0, 1)
    else:
        kernels = torch.randn(count, COLOURS, size, size, generator=generator(seed, "first layer", size))
    return kernels * math.sqrt(2) / kernels.flatten(1).norm(dim=1)[:, None, None, None]
