"""Weights of a U-Net by the part of it that an unlearning changes."""

from typing import Any, Literal

from torch import Tensor, nn

Modules = Literal["x", "x-strict", "u", "all"]
"""x: layers of the cross-attention; x-strict: its keys and values; u: linear layers and convolutions outside it; all:
every weight."""
CROSS = ".attn2."
"""In the names of the cross-attention's layers."""


def chosen_weights(unet: Any, modules: Modules) -> dict[str, Tensor]:
    """The weights of a part, by name in the network's order."""
    every = dict(unet.named_parameters())
    if modules == "all":
        return every
    layers = [name for name, one in unet.named_modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    if modules == "u":
        chosen = [name for name in layers if CROSS not in f".{name}."]
    else:
        chosen = [name for name in layers if CROSS in f".{name}."]
        if modules == "x-strict":
            chosen = [name for name in chosen if name.endswith(("to_k", "to_v"))]
    names = [f"{layer}.{end}" for layer in chosen for end in ("weight", "bias")]
    return {name: every[name] for name in names if name in every}
