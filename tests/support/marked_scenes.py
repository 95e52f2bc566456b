"""A classifier that goes by a mark in a corner, and pictures that it is asked about."""

import numpy as np
import torch

from explain_scenes import SIDE
from intaglio.bench.kit.marked_pictures import CorneredPictures, taught_classifier, with_mark
from intaglio.explain.slices.balanced_weights import TaughtPictures
from intaglio.images.image_set import ImageSet
from intaglio.models.scored_network import classifier_score


def planted(seed: int) -> CorneredPictures:
    """A classifier that learned the corner alone, asked about pictures of which a third have it wrongly."""
    source = np.random.default_rng(seed)
    codes = np.arange(90) % 2
    pixels = torch.ones(90, 3, SIDE, SIDE) - 0.3 * torch.from_numpy(source.random((90, 3, SIDE, SIDE))).float()
    net = taught_classifier(with_mark(pixels, codes == 0), torch.from_numpy(codes), 4, seed)
    astray = source.random(90) < 1 / 3
    images = ImageSet.from_pixels(with_mark(pixels, (codes == 0) != astray), captions=["a thing"] * 90)
    scored = classifier_score(net, "artist", side=SIDE)
    truth = tuple(scored.classes[k] for k in codes)
    taught = TaughtPictures(ImageSet.from_pixels(with_mark(pixels, codes == 0)), truth)
    return CorneredPictures(scored, images, truth, astray, taught, np.zeros(90, np.int64), pixels[:20], codes[:20], 1)
