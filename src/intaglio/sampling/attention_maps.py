"""Maps of a denoiser's cross-attention: how much each place looks at each token of the prompt."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from intaglio.models.diffusion.removed_branches import RemovedBranch

CROSS = "attn2"
"""Name of the cross-attention modules in the blocks of diffusers."""


def cross_attentions(denoiser: nn.Module) -> list[nn.Module]:
    """The modules by which places look at tokens, in the order of the network; none for a network without text."""
    named = [module for name, module in denoiser.named_modules() if name.rpartition(".")[2] == CROSS]
    return [module for module in named if not isinstance(module, RemovedBranch)]


def probabilities(
    attention: Any, hidden: Float[Tensor, "n places c"], text: Float[Tensor, "n tokens d"]
) -> Float[Tensor, "n places tokens"]:
    """Share of each token in what a place takes up, mean over the heads; the tokens' shares add up to 1."""
    query, key = attention.to_q(hidden), attention.to_k(text)
    heads = attention.heads
    query, key = (rows.unflatten(-1, (heads, -1)).transpose(1, 2).float() for rows in (query, key))
    return (query @ key.transpose(-1, -2) * attention.scale).softmax(-1).mean(1)


@contextmanager
def recorded_maps(denoiser: nn.Module) -> Iterator[list[Float[Tensor, "n places tokens"]]]:
    """While the block runs, the list takes the probabilities of each cross-attention called; no hook is left."""
    found = list[Tensor]()

    def keep(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        text = named.get("encoder_hidden_states", given[1] if len(given) > 1 else None)
        if text is not None:
            found.append(probabilities(module, given[0] if given else named["hidden_states"], text))

    handles = [module.register_forward_pre_hook(keep, with_kwargs=True) for module in cross_attentions(denoiser)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def mean_map(maps: Sequence[Tensor], side: int) -> Float[Tensor, "n tokens h w"]:
    """The mean of maps [n, places, tokens], each of a square of places, at one size of `side` cells a side."""
    sized = []
    for one in maps:
        width = round(one.shape[1] ** 0.5)
        square = one.transpose(1, 2).unflatten(2, (width, width))
        sized.append(interpolate(square, size=(side, side), mode="bilinear", align_corners=False))
    return torch.stack(sized).mean(0)
