"""Decoding of one picture file to 8-bit RGB at a model's resolution."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from intaglio.errors import BadInput
from intaglio.images.picture_file import TooLargeError, open_picture

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
CROP_RATIO = 2.0
"""Ratio of the sides beyond which the crop to a square is noted."""


class UnusableError(Exception):
    """The reason why a file cannot be used and the remedy, without the file's name."""


@dataclass(frozen=True)
class Decoded:
    """A decoded picture, with notes on its processing."""

    pixels: np.ndarray
    """uint8 [3, resolution, resolution]."""
    size: tuple[int, int]
    """Width and height of the upright picture, or of its box, pixels."""
    notes: frozenset[str] = field(default_factory=frozenset)
    """Any of "frames" (only the first was read), "enlarged", "cropped" (more than half of the longer side is lost)."""


Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of a picture, pixels of the upright picture."""


def decode(path: Path, resolution: int, box: Box | None = None) -> Decoded:
    """Decodes a file as RGB in [0, 255]: shorter side resized to `resolution` pixels, centre cropped to a square.

    In this order: EXIF rotation, 16 bits scaled to 8, transparency composited on white, CMYK and grey to RGB, Lanczos
    resize (which averages over all source pixels when shrinking), crop. A shorter side of that length already is only
    cropped. With a `box` all of this applies to that part of the picture.
    Colour profiles are not applied, as trainers do not apply them. Raises `UnusableError`.
    """
    with explained(path), open_picture(path) as image:
        _check_size(image, resolution)
        notes = {"frames"} if getattr(image, "n_frames", 1) > 1 and image.format != "MPO" else set()
        image.load()
        upright = _to_rgb(_upright(image), image.format)
    if box is not None:
        upright = _part(upright, box, resolution)
    width, height = upright.size
    if min(width, height) < resolution:
        notes.add("enlarged")
    if max(width, height) > CROP_RATIO * min(width, height):
        notes.add("cropped")
    square = np.asarray(_square(upright, resolution))
    return Decoded(np.ascontiguousarray(square.transpose(2, 0, 1)), (width, height), frozenset(notes))


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what readers of pictures raise into an `UnusableError` with the reason and the remedy."""
    try:
        yield
    except UnusableError:
        raise
    except TooLargeError as error:
        raise UnusableError(f"it is {error}; shrink it first") from error
    except BadInput as error:
        raise UnusableError(_unopened(path, error)) from error
    except PermissionError as error:
        raise UnusableError("it may not be read; change its permissions") from error
    except Image.UnidentifiedImageError as error:
        raise UnusableError("it is not a PNG, JPEG, WebP, BMP, TIFF or GIF; export it again or remove it") from error
    except Exception as error:
        # Parsers of damaged files fail in every way there is (struct, zlib, Syntax, Type ... errors).
        raise UnusableError("it is damaged or cut short; copy it again from its source or remove it") from error


def _check_size(image: Image.Image, resolution: int) -> None:
    """Raises `UnusableError` by the declared size, before anything is decompressed."""
    width, height = image.size
    if min(width, height) * 8 < resolution:
        raise UnusableError(
            f"it is {width}x{height} pixels, too small for {resolution}; find a larger copy or remove it"
        )


def _unopened(path: Path, error: BadInput) -> str:
    """The reason why a file could not be opened, and the remedy, without its name."""
    match error.__cause__:
        case PermissionError():
            return "it may not be read; change its permissions"
        case FileNotFoundError():
            return "it does not exist; check the path"
    return f"it {str(error).removeprefix(f'{path} ')}" if not path.is_dir() else "it is a folder; give the folder alone"


def _part(image: Image.Image, box: Box, resolution: int) -> Image.Image:
    left, top, right, bottom = box
    if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
        raise UnusableError(
            f"its box {left},{top},{right},{bottom} does not lie in its {image.width}x{image.height} pixels; give "
            "left, top, right and bottom, counted from the upper left corner"
        )
    if min(right - left, bottom - top) * 8 < resolution:
        raise UnusableError(f"its box is {right - left}x{bottom - top} pixels, too small for {resolution}; widen it")
    return image.crop(box)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        # A damaged EXIF block takes nothing from the pixels, and viewers show such a picture as it is stored.
        return image


def _to_rgb(image: Image.Image, file_format: str | None) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PNG"):
        return from_sixteen_bits(image)
    if image.mode in ("I", "F"):
        raise UnusableError("its pixels are 32-bit numbers of no fixed range; save it with 8 or 16 bits a channel")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    # Pillow has already undone the inversion of Adobe's CMYK JPEGs.
    return image.convert("RGB")


def from_sixteen_bits(image: Image.Image) -> Image.Image:
    """A 16-bit grey picture in 8 bits as RGB, white where it is transparent."""
    wide = np.asarray(image).astype(np.int64)
    grey = ((wide * 255 + 32767) // 65535).clip(0, 255).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey = np.where(wide == clear, np.uint8(255), grey)
    return Image.fromarray(grey).convert("RGB")


def _square(image: Image.Image, resolution: int) -> Image.Image:
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    if short == resolution:
        return image.crop((int(left), int(top), int(left) + short, int(top) + short))
    # The same as to resize and then to crop, without ever holding the enlarged strip of a panorama.
    box = (left, top, left + short, top + short)
    return image.resize((resolution, resolution), Image.Resampling.LANCZOS, box=box)
