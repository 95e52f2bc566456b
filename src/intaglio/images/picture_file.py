"""The one way from a file to Pillow: regular files only, six formats only, within a limit of pixels.

Pillow has some forty other readers, one of which hands the file to another program (PostScript). A picture comes from
strangers, so none of those is ever tried, whatever the file's name.
"""

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image

from intaglio.files import open_regular

PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 100_000_000
"""Pixels of the largest picture that is decoded."""
MAX_SIDE = 30_000
"""Pixels along the longest side of a picture that is decoded."""
LIMITS = f"{MAX_PIXELS // 1_000_000} megapixels and {MAX_SIDE:,} pixels a side are the limit"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
NOTES = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""PNG chunks that take no part in the pixels: text, and a colour profile, which is not applied."""
LONGEST_NOTE = 2**20
"""Bytes of the longest note, unpacked, that Pillow reads; it refuses the picture for a longer one."""
LONGEST_NOTES = 2**25
"""Bytes of all notes of a picture together, unpacked, that are given to Pillow."""


class TooLargeError(Exception):
    """A picture that declares more pixels than are decoded; the text says how many."""


@contextmanager
def open_picture(path: Path, formats: tuple[str, ...] = PILLOW_FORMATS) -> Iterator[Image.Image]:
    """A picture file, opened and not yet decoded, with Pillow's warnings (of bombs, odd EXIF) silenced.

    Raises `BadInput` for a pipe, a device or a missing file, `TooLargeError` by the declared size, and what Pillow
    raises for a file that is none of `formats` (`UnidentifiedImageError`) or is damaged (any exception).
    """
    with warnings.catch_warnings(), open_regular(path) as file:
        warnings.simplefilter("ignore")
        with _within_limits(file, formats) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
                raise TooLargeError(f"{width}x{height} pixels, where {LIMITS}")
            yield image


def shorter_side(path: Path) -> int | None:
    """Pixels of the shorter side that a picture file declares; None where it cannot be opened."""
    try:
        with open_picture(path) as image:
            return min(image.size)
    except Exception:  # of what is wrong with a file its decoding tells
        return None


def _within_limits(file: IO[bytes], formats: tuple[str, ...]) -> Image.Image:
    try:
        return _opened(file, formats)
    except Image.DecompressionBombError as error:  # Pillow's own limit, which it keeps before the size can be asked
        raise TooLargeError(f"of many more pixels than can be held, where {LIMITS}") from error


def _opened(file: IO[bytes], formats: tuple[str, ...]) -> Image.Image:
    if file.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE and (notes := _unreadable_notes(file)):
        file.seek(0)
        return Image.open(io.BytesIO(_without(file.read(), notes)), formats=formats)
    file.seek(0)
    return Image.open(file, formats=formats)


def _unreadable_notes(png: IO[bytes]) -> list[slice]:
    """The places of those notes that are damaged or too long, for which Pillow would refuse the picture.

    Programs keep whole workflows in a picture's text, and every viewer skips them.
    """
    found, total, start = [], 0, len(PNG_SIGNATURE)
    while len(head := _at(png, start, 8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        end = start + 12 + length
        if kind in NOTES:
            size = _unpacked_size(kind, _at(png, start + 8, length + 4))
            total += size or 0
            if size is None or size > LONGEST_NOTE or total > LONGEST_NOTES:
                found.append(slice(start, end))
        start = end
    return found


def _at(file: IO[bytes], start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def _without(png: bytes, places: list[slice]) -> bytes:
    starts = [0, *(place.stop for place in places)]
    ends = [*(place.start for place in places), len(png)]
    return b"".join(png[start:end] for start, end in zip(starts, ends, strict=True))


def _unpacked_size(kind: bytes, content: bytes) -> int | None:
    """Bytes of a note once unpacked, counted to just above `LONGEST_NOTE`; None where it is damaged."""
    content, checksum = content[:-4], content[-4:]
    if zlib.crc32(kind + content).to_bytes(4, "big") != checksum:
        return None
    packed = _packed(kind, content)
    try:
        return len(content) if packed is None else len(zlib.decompressobj().decompress(packed, LONGEST_NOTE + 1))
    except zlib.error:
        return None


def _packed(kind: bytes, content: bytes) -> bytes | None:
    """The compressed part of a note; None where there is none."""
    _, _, rest = content.partition(b"\0")
    if kind == b"tEXt":
        return None
    if kind == b"iTXt":
        if rest[:1] != b"\1":
            return None
        return b"\0".join(rest[2:].split(b"\0")[2:])
    return rest[1:]


def readable(file: Path) -> Image.Image | None:
    """A picture file as RGB; None where it is missing, damaged or too large."""
    try:
        with open_picture(file) as opened:
            return opened.convert("RGB")
    except Exception:  # parsers of damaged files fail in every way there is
        return None
