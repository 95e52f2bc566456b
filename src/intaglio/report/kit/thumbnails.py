"""Thumbnails of a report as data URIs within a total size, and relative links to the originals."""

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from intaglio.images.picture_file import open_picture

PIXEL_ART_SIDE = 128
"""Pixels of the longer side up to which a picture is embedded as it is and drawn with hard pixel edges."""
THUMBNAIL_SIDES = (320, 256, 192, 128, 96, 64, 48)
"""Pixels of the longer side, tried from the largest."""
WEBP_QUALITIES = (82, 65, 45)
"""Tried in turn at each size."""


@dataclass(frozen=True)
class Thumb:
    """A thumbnail that is embedded in the page."""

    src: str
    """A data URI."""
    href: str | None
    """Relative link to the original; None where no such link reaches it."""
    width: int
    height: int
    """Size of the thumbnail, pixels."""
    pixelated: bool


class Album:
    """The thumbnails of one report, with an equal share of the size each.

    Args:
        folder: folder of the report; links are relative to it.
        count: number of pictures in the report.
        budget: bytes of base64 text for all of them together.
        run: folder of the run; no picture outside of it is embedded, whatever a path or a link in it says. None takes
            the folder of the report.
    """

    def __init__(self, folder: Path, count: int, budget: int = 2_200_000, run: Path | None = None):
        self.folder, self.run = folder, (run or folder).resolve()
        self.budget = budget
        self.share = int(budget / max(count, 1) * 3 / 4)

    def thumb(self, picture: Path | None) -> Thumb | None:
        """The picture within its share; None where the run has no such picture or it cannot be read."""
        image = None if picture is None else self._read(picture)
        if picture is None or image is None:
            return None
        data, kind, size = shrunk(image, self.share)
        return Thumb(
            src=f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
            href=relative_link(picture, self.folder),
            width=size[0],
            height=size[1],
            pixelated=max(image.size) <= PIXEL_ART_SIDE and size == image.size,
        )

    def whole(self, picture: Path) -> tuple[str, tuple[int, int]] | None:
        """A WebP picture of the run as it is, as a data URI, and its size; None where it is none within the budget."""
        size = None if (image := self._read(picture)) is None else image.size
        data = b"" if size is None else picture.read_bytes()
        if size is None or data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) * 4 / 3 > self.budget:
            return None
        return f"data:image/webp;base64,{base64.b64encode(data).decode()}", size

    def _read(self, picture: Path) -> Image.Image | None:
        try:
            if not picture.resolve().is_relative_to(self.run):
                return None
            with open_picture(picture) as opened:
                return opened.convert("RGB")
        except Exception:  # parsers of damaged files fail in every way there is
            return None


def shrunk(image: Image.Image, share: int) -> tuple[bytes, str, tuple[int, int]]:
    """The best encoding of at most `share` bytes: PNG for pixel art, else WebP, smaller and coarser until it fits.

    The smallest and coarsest is taken where nothing fits.
    """
    if max(image.size) <= PIXEL_ART_SIDE:
        data = encoded(image, "PNG", optimize=True)
        if len(data) <= share:
            return data, "png", image.size
    best, limit = (b"", "webp", image.size), max(image.size)
    for side in THUMBNAIL_SIDES:
        if side > limit and side != THUMBNAIL_SIDES[-1]:
            continue
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        for quality in WEBP_QUALITIES:
            best = encoded(small, "WEBP", quality=quality, method=2), "webp", small.size
            if len(best[0]) <= share:
                return best
            if len(best[0]) > 2 * share:
                # Bytes go about with the area: skip the sizes that cannot fit either.
                limit = int(side * (1.5 * share / len(best[0])) ** 0.5)
                break
    return best


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def relative_link(picture: Path, folder: Path) -> str | None:
    """A link from a page in `folder` to `picture`, never more than one level up (a report travels with its run)."""
    relative = os.path.relpath(picture.resolve(), folder.resolve())
    parts = Path(relative).parts
    if Path(relative).is_absolute() or parts.count("..") > 1:
        return None
    return quote(Path(relative).as_posix())
