"""Settings of rotations by place, which turn each head's numbers pair by pair, some for each axis of places."""

from collections.abc import Iterator, Mapping
from typing import Any


def rotation_reasons(config: Mapping[str, Any], setting: str, axes: int, head: int) -> Iterator[str]:
    """A reason, half a sentence, that a setting does not share a head's numbers out among axes; none where it does."""
    given = config[setting]
    numbers = list(given) if isinstance(given, list | tuple) else []
    if len(numbers) != axes or not all(isinstance(it, int) and it > 0 and it % 2 == 0 for it in numbers):
        yield f"its {setting} is {given}, where {axes} even numbers above 0 are due"
    elif sum(numbers) != head:
        yield f"its {setting} add up to {sum(numbers)}, where each head of its denoiser has {head} numbers"
