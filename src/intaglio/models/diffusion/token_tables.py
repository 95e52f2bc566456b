"""The tables of a text encoder that tokens are looked up in."""

from typing import Any

from torch import nn


def token_tables(encoder: Any) -> list[nn.Embedding]:
    """Embeddings of tokens in a text encoder: T5 looks them up in another module than it names, of equal weights."""
    size = encoder.get_input_embeddings().weight.shape
    return [one for one in encoder.modules() if isinstance(one, nn.Embedding) and one.weight.shape == size]
