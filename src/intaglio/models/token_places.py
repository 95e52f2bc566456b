"""Layers of a network whose outputs are tokens, and the places of these in a picture."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from intaglio.models.scored_network import ScoredNetwork

MOST_LEADING = 8
"""Tokens that are of no place, such as one of the class and four registers, at most."""


@dataclass(frozen=True)
class TokenGrid:
    """Places of tokens in a picture, row by row, after some that are of none."""

    height: int
    width: int
    leading: int

    def maps(self, tokens: Float[Tensor, "n t d"]) -> Float[Tensor, "n d h w"]:
        """Tokens of places as maps."""
        return tokens[:, self.leading :].transpose(1, 2).unflatten(2, (self.height, self.width))


def token_grid(count: int, sizes: Iterable[tuple[int, int]]) -> TokenGrid | None:
    """The grid of that many tokens, None where they have none.

    Args:
        count: of tokens.
        sizes: heights and widths of maps that the network has, such as those of its patches.
    """
    for height, width in sizes:
        if height * width > 1 and 0 <= count - height * width <= MOST_LEADING:
            return TokenGrid(height, width, count - height * width)
    side = isqrt(count)
    return TokenGrid(side, side, 0) if side > 1 and side * side == count else None


def token_layers(scored: "ScoredNetwork") -> dict[str, TokenGrid]:
    """Modules that give tokens [1, t, d] of places for one picture, in the order of their calls."""
    with torch.no_grad():
        return {name: grid for name, (_, grid) in _called(scored)[0].items() if grid is not None}


def last_seen_layer(scored: "ScoredNetwork") -> str:
    """The last layer by whose places a score has a gradient: of maps, or of normalised tokens after all maps.

    After the last attention a score sees the token of the class alone, so that those of places have none.
    """
    last = scored.layers[-1]
    with torch.enable_grad():
        outputs, logits = _called(scored)
        names = list(outputs)
        for name in reversed(names[names.index(last) + 1 :]):
            output, grid = outputs[name]
            if grid is None or not isinstance(scored.network.get_submodule(name), nn.LayerNorm | nn.RMSNorm):
                continue
            (slope,) = torch.autograd.grad(logits[:, 0].sum(), output, retain_graph=True, allow_unused=True)
            if slope is not None and bool(grid.maps(slope).any()):
                return name
    return last


def _called(scored: "ScoredNetwork") -> tuple[dict[str, tuple[Tensor, TokenGrid | None]], Tensor]:
    """Outputs of modules for one picture, with the grid of those that are tokens; and the logits."""
    outputs = dict[str, Tensor]()

    def noted(name: str):
        def hook(module: nn.Module, given: object, output: object) -> None:
            first = output[0] if isinstance(output, tuple) and output else output
            if isinstance(first, Tensor):
                outputs.pop(name, None)
                outputs[name] = first

        return hook

    handles = [module.register_forward_hook(noted(name)) for name, module in scored.network.named_modules() if name]
    grey = torch.linspace(0, 1, 3 * scored.side**2, device=scored.device).view(1, 3, scored.side, scored.side)
    try:
        logits = scored.raw_logits(grey.requires_grad_(torch.is_grad_enabled()))
    finally:
        for handle in handles:
            handle.remove()
    sizes = dict.fromkeys((one.shape[2], one.shape[3]) for name, one in outputs.items() if name in scored.layers)
    grids = {
        name: token_grid(one.shape[1], sizes) if one.dim() == 3 and len(one) == 1 < one.shape[2] else None
        for name, one in outputs.items()
    }
    return {name: (one, grids[name]) for name, one in outputs.items()}, logits
