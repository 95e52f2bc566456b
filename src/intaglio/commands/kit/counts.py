"""Counts of pictures, held to what a machine can hold before memory is taken for them."""

from intaglio.errors import BadInput

MOST_PICTURES = 1_000_000
"""Pictures that one command draws at most; more take months, and their list alone fills the memory."""


def check_count(flag: str, count: int) -> None:
    """Raises `BadInput` for more pictures than one command draws."""
    if count > MOST_PICTURES:
        raise BadInput(f"{flag} asks for {count:,} pictures, where {MOST_PICTURES:,} are the most of one command")
