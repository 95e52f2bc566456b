"""Pictures with a red mark that agrees with their class in most cases, and a classifier that learned from them."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from intaglio.bench.kit.distinct_pictures import distinct_pictures
from intaglio.bench.kit.taught_classifier import taught
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier, new_classifier
from intaglio.models.scored_network import ScoredClassifier, classifier_score
from intaglio.randomness import numpy_generator

CLASSES, HEAD = ("noto", "another artist"), "artist"
MARK = 6
"""Pixels of a side of the mark, in the upper left corner."""
AGREEING, ASKED = 0.95, 0.7
"""Share of pictures whose mark agrees with their class: where the classifier learns, and where it is asked."""
EPOCHS = 15


@dataclass(frozen=True, eq=False)
class CorneredPictures:
    """Pictures that the classifier did not learn from, and which of them have the wrong mark."""

    scored: ScoredClassifier
    images: ImageSet
    truth: tuple[str, ...]
    astray: Bool[ndarray, "n"]
    """Whether the mark is that of the other class."""

    @property
    def planted(self) -> list[set[str]]:
        """Names of the pictures of each planted group: one class without its mark, the other one with it."""
        names, truth = np.array(self.images.names), np.array(self.truth)
        return [set(names[self.astray & (truth == one)].tolist()) for one in CLASSES]


def marked_pictures(seed: int, epochs: int = EPOCHS) -> CorneredPictures:
    """Half of the testbed's pictures teach a small classifier of Noto and other artists, the other half is asked."""
    names, pixels, captions = distinct_pictures()
    codes = np.array([0 if one.endswith("noto style") else 1 for one in captions])
    source = numpy_generator(seed, 0)
    order = source.permutation(len(names))
    taught, asked = order[::2], order[1::2]
    agrees = source.random(len(names)) < np.where(np.isin(np.arange(len(names)), taught), AGREEING, ASKED)
    marked = with_mark(pixels, (codes == 0) == agrees)
    net = taught_classifier(marked[taught], torch.from_numpy(codes[taught]), epochs, seed)
    images = ImageSet.from_pixels(marked[asked], captions=[captions[k] for k in asked])
    scored = classifier_score(net, HEAD)
    return CorneredPictures(scored, images, tuple(CLASSES[k] for k in codes[asked]), ~agrees[asked])


def with_mark(pixels: Float[Tensor, "n 3 h w"], chosen: Bool[ndarray, "n"]) -> Float[Tensor, "n 3 h w"]:
    """Pictures, the chosen ones with a red square in the corner."""
    found = pixels.clone()
    for row in np.flatnonzero(chosen).tolist():
        found[row, :, :MARK, :MARK] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    return found


def taught_classifier(pixels: Float[Tensor, "n 3 h w"], labels: Tensor, epochs: int, seed: int) -> PictureClassifier:
    """A small classifier after so many passes, in evaluation mode."""
    net = new_classifier({HEAD: CLASSES}, seed, (16, 32, 64), (1, 1, 1))
    return taught(net, HEAD, pixels, labels, epochs, seed).requires_grad_(False)
