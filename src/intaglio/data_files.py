"""JSON and TOML from files, read within limits of size, depth and numbers; fields of them by type and range.

Files may come from strangers: a pipe or a device is refused before it is read, a size is looked at before memory is
taken, and what cannot be used is one `BadInput` that names the file, the field and the remedy. Standard library only.
"""

import json
import math
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intaglio.errors import BadInput
from intaglio.files import open_regular

LARGEST = 256 * 2**20
"""Largest JSON file that is read, in bytes."""
LARGEST_TOML = 2**20
"""Largest TOML file that is read, in bytes: long dotted keys take quadratic time."""
DEEPEST = 64
"""Deepest nesting of lists and tables that is read; deeper ones overrun the stack of what walks them."""
DIGITS = 308
"""Longest whole number that is read, in digits: a longer one is no floating-point number either."""
EXPORT_AGAIN = "copy the file again, or export it again"
"""The remedy for a file of a model that is damaged."""


def read_bytes(path: Path, at_most: int = LARGEST) -> bytes:
    """The content of a regular file.

    Raises `BadInput` for a pipe, a device, a folder, a missing or unreadable file, and one above `at_most` bytes.
    """
    with open_regular(path) as file:
        content = file.read(at_most + 1)
    if len(content) > at_most:
        raise BadInput(
            f"{path} is larger than {_size(at_most)}, which no such file needs; check that it is the right one"
        )
    return content


def read_text(path: Path, at_most: int = LARGEST) -> str:
    """The content of a regular file in UTF-8, with or without a byte-order mark. Raises `BadInput` as `read_bytes`."""
    try:
        return read_bytes(path, at_most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None


def read_json(path: Path, remedy: str = EXPORT_AGAIN, *, constants: bool = False) -> Any:
    """The value in a JSON file, as of `parse_json`. Raises `BadInput`, ending in `remedy`, where it cannot be read."""
    return parse_json(read_text(path), str(path), remedy, constants=constants)


def parse_json(text: str | bytes, source: str, remedy: str = EXPORT_AGAIN, *, constants: bool = False) -> Any:
    """The value of a JSON text, which errors call `source`.

    Raises `BadInput`, ending in `remedy`, for what is no JSON, nests deeper than `DEEPEST`, or holds a number that no
    machine holds. NaN and infinities, which are no JSON, are among these; with `constants` they are read, as Python's
    own writer leaves them in files (`"lambda_min_clipped": -Infinity` in diffusers' schedulers), and `Fields` refuses
    them where a number is due.
    """
    return _parsed(
        lambda: json.loads(
            text, parse_constant=float if constants else _no_number, parse_float=_finite, parse_int=_bounded
        ),
        f"{source} is no readable JSON",
        remedy,
    )


def repeated_keys(text: str) -> set[str]:
    """Keys that one table of a JSON text has twice; parsers keep the last of them in silence."""
    found: set[str] = set()

    def note(pairs: list[tuple[str, Any]]) -> None:
        found.update(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)

    _parsed(lambda: json.loads(text, object_pairs_hook=note, parse_int=_bounded), "this text is no readable JSON", "")
    return found


def read_toml(path: Path, remedy: str = "mend the file") -> dict[str, Any]:
    """The tables of a TOML file. Raises `BadInput`, ending in `remedy`, where it cannot be read, as `parse_json`."""
    text = read_text(path, LARGEST_TOML)
    return _parsed(lambda: tomllib.loads(text, parse_float=_finite), f"{path} is no readable TOML", remedy)


def _parsed(parse: Callable[[], Any], problem: str, remedy: str) -> Any:
    try:
        value = parse()
    except RecursionError:
        raise BadInput(f"{problem} (it nests too deep); {remedy}") from None
    except ValueError as error:
        raise BadInput(f"{problem} ({error}); {remedy}") from None
    if depth(value) > DEEPEST:
        raise BadInput(f"{problem} (it nests deeper than {DEEPEST}); {remedy}")
    return value


def depth(value: Any) -> int:
    """Nesting of lists and tables: 0 for a number or a text, 1 for a flat list."""
    level, found = [value], 0
    while nested := [item for item in level if isinstance(item, list | dict)]:
        found += 1
        level = [inner for item in nested for inner in (item.values() if isinstance(item, dict) else item)]
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is beyond every floating-point number")
    return number


def _bounded(text: str) -> int:
    if len(text.lstrip("-")) > DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def _size(count: int) -> str:
    return f"{count // 2**20} MB" if count >= 2**20 else f"{count // 2**10} kB"


_NEEDED: Any = object()


@dataclass(frozen=True)
class Fields:
    """The fields of one table of a file, taken by type and range; what does not fit raises `BadInput`.

    A method without `default` needs the field; with one, a missing field or a null gives the default.
    """

    values: Mapping[str, Any]
    source: str
    """The file, and the place in it, as errors name it."""
    remedy: str = EXPORT_AGAIN
    """The end of every error's sentence."""

    @classmethod
    def of(cls, value: Any, source: str, remedy: str = EXPORT_AGAIN) -> "Fields":
        """The fields of a parsed value. Raises `BadInput` where it is no table."""
        if not isinstance(value, dict):
            raise BadInput(f"{source} holds {kind_of(value)} where a table of settings is due; {remedy}")
        return cls(value, source, remedy)

    @classmethod
    def read(cls, path: Path, remedy: str = EXPORT_AGAIN, *, constants: bool = False) -> "Fields":
        """The fields of a JSON file, as of `read_json`. Raises `BadInput` where it cannot be read or holds no table."""
        return cls.of(read_json(path, remedy, constants=constants), str(path), remedy)

    def text(self, key: str, default: Any = _NEEDED, among: Collection[str] = ()) -> Any:
        """A text, one of `among` where that is not empty."""
        wanted = f"one of {', '.join(among)}" if among else "a text"
        return self._taken(key, default, lambda v: isinstance(v, str) and (v in among or not among), wanted)

    def flag(self, key: str, default: Any = _NEEDED) -> Any:
        """True or false."""
        return self._taken(key, default, lambda v: isinstance(v, bool), "true or false")

    def whole(self, key: str, default: Any = _NEEDED, low: int = 0, high: int = 2**31 - 1) -> Any:
        """A whole number in [low, high]; 3.0 counts as 3."""
        value = self._taken(
            key,
            default,
            lambda v: is_number(v) and v == int(v) and low <= v <= high,
            f"a whole number from {low} to {high}",
        )
        return int(value) if is_number(value) else value

    def number(
        self, key: str, default: Any = _NEEDED, low: float = -math.inf, high: float = math.inf, above: bool = False
    ) -> Any:
        """A finite number in [low, high], or in (low, high] with `above`, as float."""
        bounds = f" {'above' if above else 'from'} {low:g}" if math.isfinite(low) else ""
        bounds += f" to {high:g}" if math.isfinite(high) else ""

        def fits(value: Any) -> bool:
            return is_number(value) and (low < value if above else low <= value) and value <= high

        value = self._taken(key, default, fits, f"a number{bounds}")
        return float(value) if is_number(value) else value

    def numbers(self, key: str, default: Any = _NEEDED, count: int | None = None) -> Any:
        """A list of finite numbers, `count` of them where given, as floats."""
        value = self._taken(
            key,
            default,
            lambda v: isinstance(v, list | tuple) and all(map(is_number, v)) and count in (None, len(v)),
            "a list of numbers" if count is None else f"a list of {count} numbers",
        )
        return [float(item) for item in value] if isinstance(value, list | tuple) else value

    def table(self, key: str, default: Any = _NEEDED) -> Any:
        """A table, as `Fields` that name their place."""
        value = self._taken(key, default, lambda v: isinstance(v, dict), "a table")
        return Fields(value, f"{self.source}, {key}", self.remedy) if isinstance(value, dict) else value

    def _taken(self, key: str, default: Any, fits: Callable[[Any], bool], wanted: str) -> Any:
        value = self.values.get(key)
        if value is None:
            if default is _NEEDED:
                raise BadInput(f"{self.source} lacks {key}; {self.remedy}")
            return default
        if not fits(value):
            raise BadInput(f"{self.source} has {key} {shown(value)}, where {wanted} is due; {self.remedy}")
        return value


def is_number(value: Any) -> bool:
    """Whether a parsed value is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def kind_of(value: Any) -> str:
    """The kind of a parsed value, in words."""
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return kinds.get(type(value), "nothing")


def shown(value: Any, longest: int = 60) -> str:
    """A parsed value as a short text."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
