"""The embedded encoder, which benches measure likeness by; read once a process."""

from functools import cache
from typing import cast

from intaglio.metrics.similarity.measures import Embedding, load_similarity


@cache
def embedded_encoder(device: str) -> Embedding:
    """The encoder of the package, which all methods are compared by."""
    return cast(Embedding, load_similarity("embedded", device))
