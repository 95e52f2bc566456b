"""Values of flags that no setting takes: whole numbers beyond 64 bits, NaN, texts and paths with a NUL."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from intaglio.errors import BadInput

LARGEST = 2**63 - 1
"""Largest whole number, of either sign, that generators of random numbers and shapes of tensors take."""


def check_plain_values(command: Any) -> None:
    """Raises `BadInput` for a flag of the command or its method whose value nothing takes."""
    for part in (command, getattr(command, "method", None)):
        if dataclasses.is_dataclass(part):
            for field in dataclasses.fields(part):
                value = getattr(part, field.name)
                for item in value if isinstance(value, list | tuple) else (value,):
                    if reason := _fault(item):
                        raise BadInput(f"--{field.name.replace('_', '-')} {reason}")


def _fault(value: Any) -> str:
    match value:
        case bool():
            return ""
        case int() if abs(value) > LARGEST:
            return f"must be within {-LARGEST} to {LARGEST}, not a number of {value.bit_length()} bits"
        case float() if math.isnan(value):
            return "is NaN, which is no number; give one"
        case str() | Path() if "\0" in str(value):
            return f"holds a NUL ({str(value)!r}), which no text or path has; check its spelling"
    return ""
