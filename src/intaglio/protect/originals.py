"""Pictures as their owner keeps them: read in their own geometry, and given back with all else as it was."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError
from intaglio.files import atomic_path
from intaglio.images.decode import UnusableError, explained, from_sixteen_bits
from intaglio.images.folder import list_pictures
from intaglio.images.picture_file import open_picture
from intaglio.protect.budget import largest_difference

LOSSLESS = {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
"""Suffixes whose pictures are given back under the same name, without loss."""
ORIENTATION = 0x0112
"""EXIF tag of the way a picture is to be turned."""
DESCRIPTIVE = frozenset(
    {270, 271, 272, ORIENTATION, 305, 306, 315, 316, 700, 33432, 34665, 34853, *range(40091, 40096)}
)
"""EXIF tags that speak of a picture and not of its file's layout: description, camera, artist, time and so on."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The turn that makes a stored picture upright, by the value of its tag."""
BACK = {Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90}
"""The turns that are not their own inverse, with it."""
SMALLEST_SIDE = 8
"""Shorter side, as a share 1/8 of the model's resolution, below which a picture holds nothing to protect."""
NOTES = {
    "lossy": "is given back as PNG, since its own format loses some of every change",
    "sixteen bits": "has 16 bits a channel and is given back with 8",
    "cmyk": "is CMYK and is given back as RGB, without its profile",
    "other colours": "is stored in other colours than RGB and is given back as RGB, without its profile",
    "palette": "has a palette and is given back with all colours",
}
"""Changes that giving back brings with it, in words, by the note's name."""


@dataclass(frozen=True, eq=False)
class Original:
    """One picture, upright, with what its file holds beside the pixels."""

    name: str
    """Its path below the folder."""
    pixels: UInt8[ndarray, "h w 3"]
    alpha: UInt8[ndarray, "h w"] | None = None
    grey: bool = False
    """Whether its file has one channel of colour; the three of `pixels` are equal then."""
    turn: Image.Transpose | None = None
    """The turn that made the stored picture upright."""
    about: dict[str, Any] = field(default_factory=dict)
    """EXIF, colour profile and resolution, as Pillow's writers take them."""
    notes: frozenset[str] = frozenset()
    """Keys of `NOTES`."""

    @property
    def saved_name(self) -> str:
        """The path below the folder that it is given back in: its own, with .png in place of a suffix that loses."""
        path = Path(self.name)
        return self.name if path.suffix.lower() in LOSSLESS else path.with_suffix(".png").as_posix()

    @property
    def tensor(self) -> Float[Tensor, "1 3 h w"]:
        """The pixels as a batch of one picture in [0, 1]."""
        return torch.from_numpy(self.pixels.copy()).permute(2, 0, 1)[None].float() / 255

    def save(self, pixels: UInt8[ndarray, "h w 3"], folder: Path) -> Path:
        """Write the picture with other pixels, and read it again.

        Raises `IntaglioError` where what is read is not what was written.
        """
        path = folder / self.saved_name
        kind = LOSSLESS[path.suffix.lower()]
        with atomic_path(path) as temporary:
            self._image(pixels).save(temporary, format=kind, **self._options(kind))
            again = read_original(temporary, self.saved_name)
            if largest_difference(again.pixels, pixels) or not _same(again.alpha, self.alpha):
                raise IntaglioError(f"{path} reads otherwise than it was written; give another folder or format")
        return path

    def _image(self, pixels: UInt8[ndarray, "h w 3"]) -> Image.Image:
        channels = pixels[..., :1] if self.grey else pixels
        if self.alpha is not None:
            channels = np.concatenate([channels, self.alpha[..., None]], -1)
        mode = ("L" if self.grey else "RGB") + ("" if self.alpha is None else "A")
        image = Image.fromarray(np.ascontiguousarray(channels.squeeze(-1) if mode == "L" else channels), mode)
        return image if self.turn is None else image.transpose(BACK.get(self.turn, self.turn))

    def _options(self, kind: str) -> dict[str, Any]:
        if kind == "BMP":
            return {}
        further = {"lossless": True, "exact": True, "quality": 100} if kind == "WEBP" else {}
        return {**self.about, **further}


def read_originals(path: Path, resolution: int) -> tuple[list[Original], tuple[str, ...]]:
    """The pictures of a folder, or one file, in the order of their names; and warnings of what is passed over.

    Raises `BadInput` for a folder without pictures; for all pictures together that cannot be used (animated, damaged,
    too small for the model's `resolution`); and for two that would be given back under one name.
    """
    listing = list_pictures(path)
    found: list[Original] = []
    bad = list(listing.problems)
    for entry in listing.entries:
        try:
            one = read_original(entry.path, entry.name)
            if min(one.pixels.shape[:2]) * SMALLEST_SIDE < resolution:
                height, width = one.pixels.shape[:2]
                raise UnusableError(f"it is {width}x{height} pixels, too small for a model of {resolution}")
            found.append(one)
        except UnusableError as error:
            bad.append(f"{entry.name}: {error}")
    if bad:
        raise BadInput(f"{len(bad)} pictures of {path} cannot be protected: {'; '.join(bad)}")
    _refuse_twins(found)
    return found, listing.warnings


def read_original(path: Path, name: str) -> Original:
    """One picture. Raises `UnusableError`, a reason without the name, for one that cannot be used."""
    with explained(path), open_picture(path) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise UnusableError("it has several frames; give its frames as pictures of their own")
        image.load()
        notes = {"lossy"} if Path(name).suffix.lower() not in LOSSLESS else set()
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
        about = _about(image)
        if image.format == "PNG" and _bits(path) == 16:
            notes.add("sixteen bits")
        channels, alpha, grey = _channels(image, notes, about)
        if turn is not None:
            channels = channels.transpose(turn)
            alpha = None if alpha is None else alpha.transpose(turn)
    return Original(
        name,
        np.asarray(channels, np.uint8),
        None if alpha is None else np.asarray(alpha, np.uint8),
        grey,
        turn,
        about,
        frozenset(notes),
    )


def _bits(png: Path) -> int:
    """Bits a channel of a PNG: a byte of its header."""
    with png.open("rb") as file:
        return file.read(25)[24]


def _about(image: Image.Image) -> dict[str, Any]:
    exif = image.info.get("exif") or image.getexif().tobytes()
    if image.format == "TIFF":  # whose own tags of layout and compression stand among those of EXIF
        tags = Image.Exif()
        tags.load(exif)
        for tag in [tag for tag in tags if tag not in DESCRIPTIVE]:
            del tags[tag]
        exif = tags.tobytes()
    known = {"exif": exif, "icc_profile": image.info.get("icc_profile"), "dpi": image.info.get("dpi")}
    return {key: value for key, value in known.items() if value}


def _channels(
    image: Image.Image, notes: set[str], about: dict[str, Any]
) -> tuple[Image.Image, Image.Image | None, bool]:
    """Colour as RGB, transparency, and whether the colour is grey; `notes` and `about` follow what had to change."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        notes.add("sixteen bits")
        return from_sixteen_bits(image), None, True
    if image.mode in ("I", "F"):
        raise UnusableError("its pixels are 32-bit numbers of no fixed range; save it with 8 or 16 bits a channel")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        notes.add("cmyk" if image.mode == "CMYK" else "other colours")
        about.pop("icc_profile", None)
    if image.mode == "P":
        notes.add("palette")
    grey = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        return whole.convert("RGB"), whole.getchannel("A"), grey
    return image.convert("RGB"), None, grey


def _same(one: ndarray | None, other: ndarray | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def _refuse_twins(originals: Sequence[Original]) -> None:
    by_name: dict[str, str] = {}
    for one in originals:
        if (other := by_name.setdefault(one.saved_name, one.name)) != one.name:
            raise BadInput(f"{other} and {one.name} would both be given back as {one.saved_name}; rename one of them")
