"""Pictures with a red mark that agrees with their class in most cases, and a classifier that learned from them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import cross_entropy

from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.classifiers import PictureClassifier, new_classifier
from intaglio.models.scored_network import ScoredClassifier, classifier_score
from intaglio.randomness import generator, numpy_generator

CLASSES, HEAD = ("noto", "another artist"), "artist"
MARK = 6
"""Pixels of a side of the mark, in the upper left corner."""
AGREEING, ASKED = 0.95, 0.7
"""Share of pictures whose mark agrees with their class: where the classifier learns, and where it is asked."""
EPOCHS, BATCH, RATE = 15, 32, 2e-3


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
    seen = dict[str, tuple[Tensor, str]]()
    for images in (testbed.real_pictures(), testbed.held_out_pictures()[0], testbed.controls_wide()):
        for content, pixels, caption in zip(images.hashes, images.pixels, images.captions, strict=True):
            seen.setdefault(content, (pixels, str(caption)))
    names = sorted(seen)
    pixels, captions = torch.stack([seen[one][0] for one in names]), [seen[one][1] for one in names]
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
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(len(pixels) / BATCH))
    net.train()
    for epoch in range(epochs):
        order = torch.randperm(len(pixels), generator=generator(seed, "epoch", epoch))
        for some in order.split(BATCH):
            loss = cross_entropy(net(pixels[some])[HEAD], labels[some])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval().requires_grad_(False)
