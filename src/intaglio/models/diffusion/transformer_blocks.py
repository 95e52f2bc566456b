"""Modules that the blocks of transformer denoisers have under various names."""

from collections.abc import Iterable
from typing import Any

from torch import nn


def feed_forwards(blocks: Iterable[Any]) -> list[nn.Module]:
    """The feed-forward layer of the image's tokens in each block: `ff`, in Qwen-Image `img_mlp`."""
    return [block.ff if hasattr(block, "ff") else block.img_mlp for block in blocks]
