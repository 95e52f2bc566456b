"""Values of flags that no setting takes: whole numbers beyond 64 bits, NaN, texts with a NUL or that are no UTF-8."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from intaglio.errors import BadInput
from intaglio.printable import is_text

LARGEST = 2**63 - 1
"""Largest whole number, of either sign, that generators of random numbers and shapes of tensors take."""

NAMES_OR_PATHS = ("model", "similarity", "watch_similarity", "run", "data")
"""Flags that are a name or a path, as texts; a path may hold bytes that are no UTF-8."""


def check_plain_values(command: Any) -> None:
    """Raises `BadInput` for a flag of the command or its method whose value nothing takes."""
    for part in (command, getattr(command, "method", None)):
        if dataclasses.is_dataclass(part):
            for field in dataclasses.fields(part):
                value = getattr(part, field.name)
                for item in value if isinstance(value, list | tuple) else (value,):
                    if reason := _fault(item, may_be_path=field.name in NAMES_OR_PATHS):
                        raise BadInput(f"--{field.name.replace('_', '-')} {reason}")


def _fault(value: Any, *, may_be_path: bool) -> str:
    match value:
        case bool():
            return ""
        case int() if abs(value) > LARGEST:
            return f"must be within {-LARGEST} to {LARGEST}, not a number of {value.bit_length()} bits"
        case float() if math.isnan(value):
            return "is NaN, which is no number; give one"
        case str() | Path() if "\0" in str(value):
            return f"holds a NUL ({str(value)!r}), which no text or path has; check its spelling"
        case str() if not may_be_path and not is_text(value):
            return f"is not UTF-8 text ({value!r}); type it in UTF-8"
    return ""
