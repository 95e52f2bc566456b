"""Sheets of workbooks (.xlsx, .xlsm, .xlsb, .xls, .ods), written as text with commas, to be read as any table."""

import csv
import datetime
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from intaglio.causal.tables.table_file import TableFile
from intaglio.errors import BadInput

SUFFIXES = frozenset({".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"})
LARGEST_UNPACKED = 2 * 2**30
"""Most bytes that the parts of a workbook may unpack to."""


def is_workbook(file: TableFile) -> bool:
    """Whether a file is a workbook, by what it holds or, where that says nothing, by its suffix."""
    with file.open() as raw:
        start = raw.read(8)
        if start.startswith(b"PK\x03\x04"):
            try:
                with zipfile.ZipFile(raw) as archive:
                    inside = archive.namelist()
            except zipfile.BadZipFile:
                inside = []
            if "content.xml" in inside or any(name.startswith("xl/") for name in inside):
                return True
    return start.startswith(b"\xd0\xcf\x11\xe0") or file.path.suffix.lower() in SUFFIXES


@contextmanager
def sheet_as_text(file: TableFile, sheet: str = "") -> Iterator[tuple[TableFile, list[str]]]:
    """A sheet as a temporary file of text in UTF-8 with commas, and notes on it; formulas are their stored values.

    Args:
        file: the workbook.
        sheet: the sheet's name; empty for the first.

    Raises:
        BadInput: what reads workbooks is not installed; a file that is damaged, protected or too large; no such sheet.
    """
    rows, notes = _rows(file, sheet)
    with tempfile.TemporaryDirectory(prefix="intaglio-") as folder:
        copy = Path(folder) / "sheet.csv"
        with copy.open("w", encoding="utf-8", newline="") as text:
            csv.writer(text, lineterminator="\n").writerows([_text(cell) for cell in row] for row in rows)
        yield replace(file, copy=copy), notes


def _rows(file: TableFile, sheet: str) -> tuple[list[list[Any]], list[str]]:
    path = file.path
    try:
        from python_calamine import CalamineError, PasswordError, load_workbook
    except ImportError as error:
        raise BadInput(
            f'{path} is a workbook; install what reads it (pip install "intaglio[excel]"), or save the sheet as CSV'
        ) from error
    _refuse_large(file)
    try:
        with file.open() as raw, load_workbook(raw) as book:
            names = list(book.sheet_names)
            chosen = sheet or (names[0] if names else "")
            if chosen not in names:
                there = ", ".join(map(repr, names)) or "none"
                raise BadInput(f"{path} has no sheet {chosen!r} (--sheet); its sheets are {there}")
            rows = book.get_sheet_by_name(chosen).to_python(skip_empty_area=False)
    except PasswordError as error:
        raise BadInput(f"{path} is protected by a password; save it without one") from error
    except (CalamineError, OSError, ValueError) as error:
        raise BadInput(f"{path} is no whole workbook ({error}); save it again, or save the sheet as CSV") from error
    others = ", ".join(repr(name) for name in names if name != chosen)
    notes = [f"{path.name} has {len(names)} sheets, and the first, {chosen!r}, is read (others: {others}; --sheet)"]
    return rows, notes if len(names) > 1 and not sheet else []


def _refuse_large(file: TableFile) -> None:
    """Raises `BadInput` where the parts unpack to more than a machine may hold."""
    try:
        with file.open() as raw, zipfile.ZipFile(raw) as archive:
            size = sum(part.file_size for part in archive.infolist())
    except zipfile.BadZipFile:
        return  # an old workbook is no archive; a broken one is told of by what reads it
    if size > LARGEST_UNPACKED:
        raise BadInput(f"{file.path} unpacks to more than {LARGEST_UNPACKED // 2**30} GB; save the sheet as CSV")


def _text(cell: Any) -> str:
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    return cell.isoformat(" ") if isinstance(cell, datetime.datetime) else str(cell)
