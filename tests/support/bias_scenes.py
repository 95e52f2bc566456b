"""Samples of a site whose activations are planted sums of few codes, and a judge of drawn pictures by their colours."""

import torch

from intaglio.explain.bias.family import Samples
from intaglio.explain.bias.value_judge import ValueJudge
from intaglio.explain.site_walks import SiteWalks
from intaglio.models.sparse_codes import SparseAutoencoder


def bias_judge() -> ValueJudge:
    """Pictures are red, green or blue, by the softmax of their mean colours."""
    return ValueJudge("colour", ("red", "green", "blue"), lambda pixels: (40 * pixels.mean((2, 3))).softmax(1))


def planted(n: int = 24, steps: int = 2, side: int = 2, codes: int = 8, channels: int = 8):
    """Samples with h = z D of orthonormal D, and their codes z [n, s, p, k]: code 3 is above 0 in value 1 alone.

    The other codes are active at random, whatever the value.
    """
    source = torch.Generator().manual_seed(0)
    dictionary = torch.linalg.qr(torch.randn(channels, channels, generator=source))[0][:codes]
    labels = torch.arange(n) % 2
    z = torch.rand(n, steps, side * side, codes, generator=source) + 0.2
    z *= torch.rand(z.shape, generator=source) < 0.3
    z[..., 3] = labels.view(-1, 1, 1) * (0.5 + torch.rand(z.shape[:3], generator=source))
    values = (z @ dictionary).movedim(2, 3).unflatten(3, (side, side))
    walks = SiteWalks(values, torch.zeros(n, 4, 2, 2))
    return Samples(walks, labels, ("plain", "marked"), tuple(range(10 * steps, 0, -10)), 1), z, dictionary


def exact_codes(dictionary: torch.Tensor) -> SparseAutoencoder:
    """Codes z of rows z D with orthonormal D and z of 0 or more."""
    return SparseAutoencoder(1.0, len(dictionary), dictionary, torch.zeros(len(dictionary)), dictionary)
