"""Numbers as people write them: with a currency sign, a per cent sign, or a sign between thousands."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from intaglio.causal.tables.table_reading import Thousands

CURRENCIES = "$€£¥₹"
COMMA_GROUPS = frozenset("$£¥₹")
"""Currencies whose users put a comma between thousands."""
_WRITTEN = re.compile(
    rf"(?P<sign>[-+]?)\s?(?P<before>[{CURRENCIES}]|(USD|EUR|GBP|CHF|JPY)\s)?\s?(?P<inner>[-+]?)"
    rf"(?P<body>\d[\d.,]*|\.\d+)\s?(?P<after>[%‰{CURRENCIES}]|USD|EUR|GBP|CHF|JPY)?"
)
_PLAIN = re.compile(r"\d*\.?\d+|\d+\.")


@dataclass(frozen=True)
class WrittenNumbers:
    """The numbers of some words."""

    numbers: tuple[float | None, ...]
    """One per word; None where the word is no number."""
    sign: str
    """The currency or per cent sign that all of them have; empty for none."""


def read_written(words: Sequence[str], thousands: Thousands) -> WrittenNumbers | None:
    """The numbers that words write, or None where they are plain ones, none at all, or ambiguous.

    Without a thousands sign only words that share a currency or per cent sign are read: then a comma is what all words
    agree on, and `€ 1,200`, which may be either, is none. Plain words such as 1,200 need the sign.

    Args:
        words: distinct texts with the ASCII minus, some of which may be no numbers.
        thousands: the thousands sign; empty where the user names none.
    """
    found = [_WRITTEN.fullmatch(word) for word in words]
    signs = {(match["before"] or match["after"] or "").strip() for match in found if match}
    twice = any(match and match["before"] and match["after"] for match in found)
    if not signs or twice or len(signs) > 1 or (not thousands and signs == {""}):
        return None
    (sign,) = signs
    bodies = [match["body"] for match in found if match]
    marks = (thousands, "." if thousands == "," else ",") if thousands else _marks(bodies, sign)
    if marks is None:
        return None
    return WrittenNumbers(tuple(None if match is None else _number(match, *marks) for match in found), sign)


def _marks(bodies: Sequence[str], sign: str) -> tuple[str, str] | None:
    """The thousands sign and the decimal sign that all bodies agree on; None where both readings fit, or neither."""
    fitting = [
        (group, point)
        for group, point in ((",", "."), (".", ","))
        if all(_plain(body, group, point) is not None for body in bodies)
    ]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    # Both fit: no sign in any word, or three digits behind each.
    if not any(mark in body for body in bodies for mark in ",."):
        return fitting[0]
    return fitting[0] if sign in COMMA_GROUPS else None


def _plain(body: str, group: str, point: str) -> str | None:
    """The body with a decimal point and without groups; None where the signs stand elsewhere."""
    whole, dot, part = body.partition(point)
    if group in whole:
        if not re.fullmatch(rf"\d{{1,3}}({re.escape(group)}\d{{3}})+", whole):
            return None
        whole = whole.replace(group, "")
    text = f"{whole}{'.' if dot else ''}{part}"
    return text if _PLAIN.fullmatch(text) else None


def _number(match: re.Match[str], group: str, point: str) -> float | None:
    if match["sign"] and match["inner"]:
        return None
    plain = _plain(match["body"], group, point)
    return None if plain is None else float(f"{match['sign'] or match['inner']}{plain}")
