"""Indices of blocks, which settings may count from the end."""

from intaglio.errors import BadInput


def block_indices(indices: tuple[int, ...], blocks: int) -> list[int]:
    """Indices 0..K-1 of indices -K..K-1. Raises `BadInput` for a block that a model of K blocks does not have."""
    if wrong := [index for index in indices if not -blocks <= index < blocks]:
        raise BadInput(f"there is no block {wrong[0]}: the model has {blocks}, 0 to {blocks - 1}, or -1 for the last")
    return [index % blocks for index in indices]
