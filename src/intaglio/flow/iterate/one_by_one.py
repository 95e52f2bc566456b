"""Sequential decoding of the patches of a block: the inner loop of several decoders."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.results import BlockCallback
from intaglio.models.flow.tarflow import BlockCache


def one_by_one(
    inverse: BlockInverse,
    v: Float[Tensor, "n t c"],
    u: Float[Tensor, "n t c"],
    start: int,
    cache: BlockCache,
    watch: BlockCallback,
) -> None:
    """Decode the patches start+1..T-1 of `u`, in place, one a pass.

    The patches 0..start are final, and `cache` holds the keys and values of those before `start`.
    """
    for index in range(start, inverse.tokens - 1):
        a, b = inverse.parameters(u[:, index : index + 1], index, cache)
        torch.addcmul(b, v[:, index + 1 : index + 2], torch.exp(a), out=u[:, index + 1 : index + 2])
        watch(u, index + 2)


def sequential(inverse: BlockInverse, v: Float[Tensor, "n t c"], watch: BlockCallback) -> Float[Tensor, "n t c"]:
    """The solution u of a whole block, patch by patch."""
    u = v.clone()
    one_by_one(inverse, v, u, 0, inverse.cache(), watch)
    return u
