"""A small classifier that learns from a few hundred pictures."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from intaglio.models.classifiers import PictureClassifier
from intaglio.randomness import generator

BATCH, RATE = 32, 2e-3


def taught(
    net: PictureClassifier,
    head: str,
    pixels: Float[Tensor, "n 3 h w"],
    labels: Int[Tensor, "n"],
    epochs: int,
    seed: int,
    weights: Float[Tensor, "n"] | None = None,
) -> PictureClassifier:
    """The classifier after so many passes over the pictures by AdamW with a cosine schedule, in evaluation mode.

    With `weights` each pass draws as many pictures by them, with replacement. Weights of the network that take no
    gradients stay as they are.
    """
    optimizer = torch.optim.AdamW([one for one in net.parameters() if one.requires_grad], RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(len(pixels) / BATCH))
    net.train()
    for epoch in range(epochs):
        order = _drawn(len(pixels), weights, generator(seed, "epoch", epoch))
        for some in order.split(BATCH):
            loss = cross_entropy(net(pixels[some])[head], labels[some])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def _drawn(count: int, weights: Float[Tensor, "n"] | None, source: torch.Generator) -> Int[Tensor, "n"]:
    if weights is None:
        return torch.randperm(count, generator=source)
    return torch.multinomial(weights, count, replacement=True, generator=source)
