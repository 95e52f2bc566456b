"""Counts of pictures that were drawn a second time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SecondPass:
    """Second passes of a batch."""

    pictures: int
    faulty: int
    """Pictures of which an entity was not shown."""
    better: int
    """Those whose second pass meets more constraints, and is kept."""
