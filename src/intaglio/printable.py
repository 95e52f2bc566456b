"""Text of others made fit to show: control characters and marks that turn the direction of writing are spelt out."""

import re
from collections.abc import Iterable, Sequence

SPELT = re.compile(
    # Control characters but newline and tab; line and paragraph separators; bidirectional marks; halves of surrogate
    # pairs, which stand for the bytes of a file name that is not UTF-8.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""The text with every character that acts in place of being shown spelt as in Python: `\x1b`, `\u202e`.

    Newlines and tabs stay. A byte of a file name that is not UTF-8 is spelt as that byte, such as `\xe9`.
    """
    return SPELT.sub(_spelt, text)


def is_text(text: str) -> bool:
    """Whether a text is Unicode throughout: no halves of surrogate pairs, which no file and no tokenizer takes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def one_line(text: str) -> str:
    r"""`printable`, and newlines and tabs spelt too (`\n`): for names and cells of tables."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def aligned(rows: Iterable[Sequence[object]], indent: str = "") -> str:
    """Rows of cells as text in aligned columns; the last column is not padded."""
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def _spelt(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for a byte
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
