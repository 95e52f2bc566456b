"""Pictures with a red mark that agrees with their class in most cases, and a classifier that learned from them."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from intaglio.bench.kit.distinct_pictures import distinct_pictures
from intaglio.bench.kit.taught_classifier import taught
from intaglio.explain.slices.balanced_weights import TaughtPictures
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
    taught: TaughtPictures
    """Those that it learned from."""
    cells: Int[ndarray, "m"]
    """Of the latter, 1 where the mark is that of the other class, else 0."""
    judged: Float[Tensor, "k 3 h w"]
    """Further pictures, without a mark."""
    codes: Int[ndarray, "k"]
    """Places of their classes."""
    epochs: int = EPOCHS
    """Passes of a further training."""

    @property
    def planted(self) -> list[set[str]]:
        """Names of the pictures of each planted group: one class without its mark, the other one with it."""
        names, truth = np.array(self.images.names), np.array(self.truth)
        return [set(names[self.astray & (truth == one)].tolist()) for one in CLASSES]

    def further(self, net: PictureClassifier) -> dict[tuple[str, bool], float]:
        """Share of the judged pictures that a classifier names right, by class and whether all have the mark."""
        truth, found = torch.from_numpy(self.codes), dict[tuple[str, bool], float]()
        for marked in (False, True):
            with torch.no_grad():
                called = net(with_mark(self.judged, np.full(len(self.codes), marked)))[HEAD].argmax(1)
            for kind, name in enumerate(CLASSES):
                found[name, marked] = float((called == truth)[truth == kind].double().mean())
        return found

    def worst(self, net: PictureClassifier) -> float:
        """The smallest share of `further`."""
        return min(self.further(net).values())

    def retaught(self, weights: Float[ndarray, "m"], seed: int) -> PictureClassifier:
        """A small classifier that learned from the same pictures, drawn by weights."""
        labels = torch.tensor([CLASSES.index(one) for one in self.taught.truth])
        return taught_classifier(
            self.taught.images.pixels, labels, self.epochs, seed, torch.from_numpy(weights).float()
        )


def marked_pictures(seed: int, epochs: int = EPOCHS) -> CorneredPictures:
    """Two fifths of the testbed's pictures teach a small classifier of Noto and other artists, two fifths are asked.

    The last fifth judges what a further training makes of it.
    """
    names, pixels, captions = distinct_pictures()
    codes = np.array([0 if one.endswith("noto style") else 1 for one in captions])
    source = numpy_generator(seed, 0)
    order = source.permutation(len(names))
    fifth = np.arange(len(order)) % 5
    taught, asked, judged = order[fifth < 2], order[(fifth == 2) | (fifth == 3)], order[fifth == 4]
    agrees = source.random(len(names)) < np.where(np.isin(np.arange(len(names)), taught), AGREEING, ASKED)
    marked = with_mark(pixels, (codes == 0) == agrees)
    net = taught_classifier(marked[taught], torch.from_numpy(codes[taught]), epochs, seed)
    images = ImageSet.from_pixels(marked[asked], captions=[captions[k] for k in asked])
    scored = classifier_score(net, HEAD)
    learned = ImageSet.from_pixels(marked[taught], captions=[captions[k] for k in taught])
    return CorneredPictures(
        scored, images, tuple(CLASSES[k] for k in codes[asked]), ~agrees[asked],
        TaughtPictures(learned, tuple(CLASSES[k] for k in codes[taught])), (~agrees[taught]).astype(np.int64),
        pixels[judged], codes[judged], epochs,
    )  # fmt: skip


def with_mark(pixels: Float[Tensor, "n 3 h w"], chosen: Bool[ndarray, "n"]) -> Float[Tensor, "n 3 h w"]:
    """Pictures, the chosen ones with a red square in the corner."""
    found = pixels.clone()
    for row in np.flatnonzero(chosen).tolist():
        found[row, :, :MARK, :MARK] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    return found


def taught_classifier(
    pixels: Float[Tensor, "n 3 h w"], labels: Tensor, epochs: int, seed: int, weights: Float[Tensor, "n"] | None = None
) -> PictureClassifier:
    """A small classifier after so many passes, in evaluation mode."""
    net = new_classifier({HEAD: CLASSES}, seed, (16, 32, 64), (1, 1, 1))
    return taught(net, HEAD, pixels, labels, epochs, seed, weights).requires_grad_(False)
