"""Pictures whose colour agrees with their class in most cases, and a classifier that goes by the colour alone."""

import numpy as np
import torch

from explain_scenes import planted
from intaglio.explain.slices.judged_rows import JudgedRows
from intaglio.images.image_set import ImageSet
from intaglio.models.scored_network import ScoredClassifier


def by_colour() -> ScoredClassifier:
    """Calls a picture "yes" where it is redder than blue."""
    return planted(lambda pixels: 40 * (pixels[:, 0] - pixels[:, 2]).mean((1, 2)))


def coloured(count: int = 120, disagree: int = 10) -> tuple[ImageSet, list[str]]:
    """Every second picture is of the class yes and red, others of no and blue; two of every `disagree` have the other
    colour.
    """
    source = torch.Generator().manual_seed(0)
    pixels, truth = torch.ones(count, 3, 16, 16), []
    for k in range(count):
        yes, odd = k % 2 == 0, k % disagree >= disagree - 2
        pixels[k, 2 if yes != odd else 0] = 0.3
        pixels[k, 1] = 0.3
        truth.append("yes" if yes else "no")
    pixels = (pixels + 0.05 * torch.randn(pixels.shape, generator=source)).clamp(0, 1)
    captions = [f"{'rare' if k % disagree >= disagree - 2 else 'usual'} thing" for k in range(count)]
    return ImageSet.from_pixels(pixels, captions=captions), truth


def rows(count: int = 400, seed: int = 0) -> JudgedRows:
    """Two looks a class; the second look of class 0 is called 1."""
    source = np.random.default_rng(seed)
    kind = source.integers(0, 4, count)
    centres = np.array([[0, 0], [6, 0], [0, 6], [6, 6]], float)
    features = centres[kind] + source.standard_normal((count, 2))
    truth = kind // 2
    called = np.where(kind == 1, 1, truth)
    captions = tuple("odd one" if one == 1 else "common one" for one in kind)
    return JudgedRows(features, features, truth, called, captions, 2)
