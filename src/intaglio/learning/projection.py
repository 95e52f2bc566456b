"""`Sketch`: gradients of millions of weights as a few thousand numbers that keep inner products on average."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.learning.per_sample import Gradients
from intaglio.randomness import generator

MOST_WHOLE = 200_000
"""Weights, at most, whose gradients are kept whole in place of a sketch."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """A sparse random projection P of gradients a, [p], to [k]: each entry is added to one bucket, with a random sign.

    E<Pa, Pb> = <a, b>, with the variance (||a||^2 ||b||^2 + <a, b>^2 - 2 sum_j a_j^2 b_j^2) / k. A dense projection
    of p = 10^7 entries to k = 4096 would be a matrix of 160 GB; this one takes four bytes an entry. Bucket and sign of
    an entry follow from the seed, the name of its tensor and its place there.

    Source: Charikar, Chen and Farach-Colton, "Finding frequent items in data streams", 2002; Weinberger et al., arXiv
    0902.2206.
    """

    width: int
    """Buckets k; 0 keeps gradients whole."""
    places: Mapping[str, Int[Tensor, "numel"]]
    """By tensor, in 0..2k-1: the bucket of each entry, plus k where its sign is negative."""

    @classmethod
    def of(cls, sizes: Mapping[str, int], width: int, seed: int, device: torch.device | str = "cpu") -> "Sketch":
        """The projection of gradients of tensors with so many entries, by name; `width` is k, or 0 for none.

        Raises `BadInput` where gradients of more than `MOST_WHOLE` entries are to be kept whole.
        """
        if not width:
            if (total := sum(sizes.values())) > MOST_WHOLE:
                raise BadInput(
                    f"gradients of {total:,} weights are too many to be kept whole, {MOST_WHOLE:,} being the most; "
                    "give a --width, such as 2048, or fewer --weights"
                )
            return cls(0, {name: torch.zeros(0, dtype=torch.int32) for name in sizes})
        drawn = {
            name: torch.randint(2 * width, (size,), generator=generator(seed, "sketch", name), dtype=torch.int32)
            for name, size in sizes.items()
        }
        return cls(width, {name: places.to(device) for name, places in drawn.items()})

    def __call__(self, gradients: Gradients) -> Float[Tensor, "m k"]:
        """The projected rows, float64 on the CPU; all entries, tensor by tensor, where they are kept whole."""
        if not self.width:
            return torch.cat([gradients[name].flatten(1).double() for name in self.places], dim=1).cpu()
        count = len(next(iter(gradients.values())))
        sums = torch.zeros(count, 2 * self.width, dtype=torch.float64, device=next(iter(self.places.values())).device)
        for name, places in self.places.items():
            for row, entries in zip(sums, gradients[name].flatten(1).double(), strict=True):
                row.index_add_(0, places, entries.to(row.device))
        return (sums[:, : self.width] - sums[:, self.width :]).cpu()
