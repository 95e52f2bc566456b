"""Sizes to which a command reads pictures for a network."""

from pathlib import Path

SMALLEST = 16
"""Pixels of a side."""


def check_resolution(resolution: int | None) -> None:
    """Raises `ValueError` for pictures that are too small to tell anything."""
    if resolution is not None and resolution < SMALLEST:
        raise ValueError(f"resolution must be {SMALLEST} or more, not {resolution}")


def picture_side(resolution: int | None, network: Path | None) -> int:
    """Pixels of a side: those asked for, else those that the network prepares pictures to."""
    from intaglio.models.image_classification import SIDE, network_side

    return resolution or (SIDE if network is None else network_side(network))
