"""Tiny services with planted answers, and answers of a known law."""

import torch
from torch import Tensor

import tiny
from intaglio.audit.inference.class_answers import bounded
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier, new_classifier

HEAD = "kind"


def service(seed: int = 0) -> PictureClassifier:
    """Two stages, untrained; of three kinds, which it gives to about as many pictures each."""
    heads = {HEAD: ("animal", "food", "place"), "artist": ("one", "two")}
    found = new_classifier(heads, seed, widths=(6, 8), repeats=(1, 2)).eval().requires_grad_(False)
    head, many = found.heads[HEAD], pictures(64, seed=11).pixels
    logits = found.logits(many, HEAD)
    head.weight *= 2 / logits.std(0)[:, None]
    head.bias -= found.logits(many, HEAD).mean(0)
    return found


def pictures(count: int, seed: int = 3) -> ImageSet:
    return ImageSet.from_pixels(tiny.pixels(count, seed=seed))


def noisy_answers(count: int, classes: int, sigma: float, seed: int) -> tuple[Tensor, Tensor]:
    """p = softmax(z) and q = softmax(z + N(0, sigma^2)), z ~ N(0, 4)."""
    source = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, classes, generator=source, dtype=torch.float64)
    noise = sigma * torch.randn(count, classes, generator=source, dtype=torch.float64)
    return bounded(logits.softmax(1)), bounded((logits + noise).softmax(1))
