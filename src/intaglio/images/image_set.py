"""`ImageSet`: pictures of one size with names, captions and content hashes; PNG files with text."""

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, PngImagePlugin
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.images.captions import ByName
from intaglio.images.decode import CROP_RATIO, Box, Decoded, UnusableError, decode
from intaglio.images.folder import ListedPicture, Listing, list_pictures
from intaglio.images.notebook import result_html
from intaglio.images.picture_file import TooLargeError, open_picture

MAX_SHAPE_DIFFERENCE = 0.075
"""Largest difference of two copies in their 16x16 lowest grey frequencies, as a share of the contrast."""
MAX_COLOUR_DIFFERENCE = 0.05
"""Largest root mean square difference of two copies in their 8x8 colour thumbnails, in [0, 1]."""


@dataclass(frozen=True)
class ImageSet:
    """Pictures of one size with their names, captions, repeats and content hashes."""

    pixels: Float[Tensor, "n 3 h w"]
    """float32 in [0, 1]."""
    names: tuple[str, ...]
    """Unique: the path below the folder that was loaded, such as `cat.png` or `10_cat/a.png`."""
    captions: tuple[str | None, ...]
    repeats: tuple[int, ...]
    """Occurrences in an epoch: the number in kohya's `10_name`, 1 elsewhere."""
    hashes: tuple[str, ...]
    """SHA-256 of the 8-bit pixels as used, with shape and type; 64 hex digits."""
    warnings: tuple[str, ...] = ()

    def __post_init__(self):
        if {len(self.names), len(self.captions), len(self.repeats), len(self.hashes)} != {len(self.pixels)}:
            raise ValueError("an ImageSet needs one name, caption, repeat and hash for each picture")
        if len(set(self.names)) != len(self.names):
            raise ValueError("the names of an ImageSet must differ from each other")

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: slice | Sequence[int]) -> "ImageSet":
        """The pictures at these indices, in this order; warnings are left out."""
        chosen = range(len(self))[index] if isinstance(index, slice) else [range(len(self))[int(i)] for i in index]
        pick = [int(i) for i in chosen]
        return ImageSet(
            self.pixels[pick],
            tuple(self.names[i] for i in pick),
            tuple(self.captions[i] for i in pick),
            tuple(self.repeats[i] for i in pick),
            tuple(self.hashes[i] for i in pick),
        )

    def _repr_html_(self) -> str:
        """Thumbnails with their names, for notebooks."""
        size = " x ".join(map(str, self.pixels.shape[2:]))
        pairs = list(zip(self.names, self.pixels, strict=True))
        return result_html(f"{len(self)} pictures of {size} pixels", {}, pictures=pairs)

    @classmethod
    def from_pixels(
        cls,
        pixels: Float[Tensor, "n 3 h w"],
        names: Sequence[str] | None = None,
        captions: Sequence[str | None] | None = None,
    ) -> "ImageSet":
        """A set of pixels in [0, 1]; names default to `0000`, `0001` and so on."""
        count = len(pixels)
        names = [f"{i:04d}" for i in range(count)] if names is None else names
        captions = [None] * count if captions is None else captions
        hashes = tuple(pixel_hash(picture) for picture in to_uint8(pixels))
        return cls(pixels.float(), tuple(names), tuple(captions), (1,) * count, hashes)

    @classmethod
    def load(
        cls,
        path: Path | Sequence[Path],
        resolution: int,
        *,
        skip_bad: bool = False,
        boxes: Mapping[str, Box] | None = None,
    ) -> "ImageSet":
        """Reads a folder, one file, or a list of files as squares of `resolution` pixels (see `decode.decode`).

        A folder is read flat, and in addition every subfolder named like kohya's `10_name`. A caption is the
        same-stem `.txt`, or else the `text` of the picture's line in `metadata.jsonl`, or else None. Of a picture
        named in `boxes` only that part is used.

        Raises `BadInput` that lists every file that cannot be used, each with its remedy; with `skip_bad` these are
        warnings, and only an empty outcome is an error. Pictures that were enlarged, or lost more than half of their
        longer side to the crop, and files that are no pictures, are named in `warnings`.
        """
        if resolution < 1:
            raise ValueError(f"resolution must be at least 1 pixel, not {resolution}")
        listing = list_pictures(path)
        by_name = ByName({entry.name: entry.name for entry in listing.entries})
        placed = {by_name.get(name): box for name, box in (boxes or {}).items()}
        if unknown := sorted(name for name in boxes or () if by_name.get(name) is None):
            raise BadInput(f"there is a box for {unknown[0]}, but no such picture; name the files as they are")
        refused = list(listing.problems)
        kept: list[tuple[ListedPicture, Decoded]] = []
        for entry in listing.entries:
            try:
                kept.append((entry, decode(entry.path, resolution, placed.get(entry.name))))
            except UnusableError as problem:
                refused.append(f"{entry.name}: {problem}")
        if refused and not (skip_bad and kept):
            raise BadInput(_refusal(listing, refused, none_left=not kept))
        remarks = [*listing.warnings, *(f"left out {line}" for line in refused), *_notes(kept, resolution)]
        return cls._of(kept, tuple(remarks))

    @classmethod
    def _of(cls, kept: list[tuple[ListedPicture, Decoded]], warnings: tuple[str, ...]) -> "ImageSet":
        stacked = torch.from_numpy(np.stack([picture.pixels for _, picture in kept]))
        return cls(
            stacked.float() / 255,
            tuple(entry.name for entry, _ in kept),
            tuple(entry.caption for entry, _ in kept),
            tuple(entry.repeats for entry, _ in kept),
            tuple(pixel_hash(picture) for picture in stacked),
            warnings,
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and contents."""
        lines = (f"{content} {name}" for name, content in zip(self.names, self.hashes, strict=True))
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()

    @property
    def captions_hash(self) -> str:
        """SHA-256 over contents and captions."""
        return hashlib.sha256(repr(list(zip(self.hashes, self.captions, strict=True))).encode()).hexdigest()

    def duplicates(self, other: "ImageSet | None" = None) -> list[tuple[str, str]]:
        """Pairs of names that show one picture: within the set, or (mine, theirs) against `other`.

        Exact copies first (equal `hashes`), then those that only look the same: at most 0.075 of the contrast apart in
        the 16x16 lowest grey frequencies, and 0.05 RMS in an 8x8 colour thumbnail. Of 1,911 flat drawings of 64 pixels
        nearly all copies resaved as JPEG of quality 30 or better, resized, or 5% darker are found, and 7 of the 1.8
        million pairs of different drawings (such as two flags); cropped or mirrored copies are not found.
        """
        theirs = self if other is None else other
        exact = [(i, j) for i, mine in enumerate(self.hashes) for j, its in enumerate(theirs.hashes) if mine == its]
        similar = _alike(self.pixels, theirs.pixels) if len(self) and len(theirs) else []
        pairs = [(i, j) for i, j in dict.fromkeys(exact + similar) if other is not None or i < j]
        return [(self.names[i], theirs.names[j]) for i, j in pairs]


def to_uint8(pixels: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """[0, 1] to the nearest of 0..255; values outside are clipped."""
    return (pixels.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)


def pixel_hash(pixels: UInt8[Tensor, "3 h w"]) -> str:
    """SHA-256 over type, shape and bytes."""
    digest = hashlib.sha256(f"uint8 {tuple(pixels.shape)}\n".encode())
    digest.update(pixels.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_png(pixels: Float[Tensor, "3 h w"], path: Path, text: Mapping[str, str] = {}) -> None:
    """Writes a picture in [0, 1] as an 8-bit PNG, atomically; `text` goes into UTF-8 text chunks (iTXt).

    Keys are 1 to 79 Latin-1 characters, as the format demands. Raises `ValueError` for other keys.
    """
    atomic_write(Path(path), png_bytes(pixels, text))


def png_bytes(pixels: Float[Tensor, "3 h w"], text: Mapping[str, str] = {}) -> bytes:
    """The file that `save_png` writes, in memory."""
    chunks = PngImagePlugin.PngInfo()
    for key, value in text.items():
        if not 1 <= len(key) <= 79 or not key.isprintable() or any(ord(letter) > 255 for letter in key):
            raise ValueError(f"a PNG text key is 1 to 79 printable Latin-1 characters, not {key!r}")
        chunks.add_itxt(key, value)
    buffer = io.BytesIO()
    array = to_uint8(pixels).permute(1, 2, 0).cpu().contiguous().numpy()
    Image.fromarray(array).save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


def read_png_text(path: Path) -> dict[str, str]:
    """The text chunks of a PNG (tEXt, zTXt and iTXt). Raises `BadInput` where the file is no sound PNG."""
    try:
        with open_picture(path, formats=("PNG",)) as image:
            return {str(key): str(value) for key, value in getattr(image, "text", {}).items()}
    except BadInput:
        raise
    except TooLargeError as error:
        raise BadInput(f"{path} declares {error}; give a smaller picture") from error
    except Exception as error:
        raise BadInput(f"{path} cannot be read as a PNG; give the file as it was written by a sampler") from error


def _refusal(listing: Listing, refused: list[str], *, none_left: bool) -> str:
    total = len(listing.entries)
    if none_left:
        head = f"none of the {total} pictures in {listing.source} can be used"
    else:
        head = f"{len(refused)} problems among the {total} pictures in {listing.source}"
    return "\n  ".join([f"{head}:", *refused])


def _notes(kept: list[tuple[ListedPicture, Decoded]], resolution: int) -> list[str]:
    sentences = {
        "frames": "only the first frame or page was read of {}",
        "enlarged": f"smaller than {resolution} pixels and enlarged, so they are blurred: {{}}",
        "cropped": f"more than {CROP_RATIO:g} times longer than wide, and cropped to the centre square: {{}}",
    }
    found = {note: [(entry, picture) for entry, picture in kept if note in picture.notes] for note in sentences}
    return [
        sentence.format(
            ", ".join(f"{entry.name} ({picture.size[0]}x{picture.size[1]})" for entry, picture in found[note])
        )
        for note, sentence in sentences.items()
        if found[note]
    ]


def _alike(mine: Float[Tensor, "n 3 h w"], theirs: Float[Tensor, "m 3 h2 w2"]) -> list[tuple[int, int]]:
    (shapes_a, colours_a), (shapes_b, colours_b) = _fingerprints(mine), _fingerprints(theirs)
    contrasts = shapes_b.norm(dim=1)
    pairs = []
    for i in range(len(mine)):
        apart = (shapes_a[i] - shapes_b).norm(dim=1)
        contrast = contrasts.maximum(shapes_a[i].norm())
        rms = (colours_a[i] - colours_b).square().mean(1).sqrt()
        # The last term is for flat pictures, whose frequencies are rounding errors.
        close = (apart <= MAX_SHAPE_DIFFERENCE * contrast + 1e-4) & (rms <= MAX_COLOUR_DIFFERENCE)
        pairs += [(i, int(j)) for j in close.nonzero().flatten()]
    return pairs


def _fingerprints(pixels: Float[Tensor, "n 3 h w"]) -> tuple[Tensor, Tensor]:
    """Low grey frequencies without the mean, [n, 255], and a colour thumbnail, [n, 192].

    The frequencies keep their size: the usual hash of their signs is noise where a flat drawing has next to none.
    """
    # One at a time, since large pictures in float64 would be many times the memory of the set.
    small = torch.cat([torch.nn.functional.interpolate(p[None].float(), (64, 64), mode="area") for p in pixels])
    small = small.double().cpu()
    grey = torch.einsum("nchw,c->nhw", small, torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64))
    pixel, frequency = torch.arange(64, dtype=torch.float64), torch.arange(16, dtype=torch.float64)
    cosines = torch.cos(math.pi / 64 * (pixel + 0.5) * frequency[:, None])
    cosines[0] /= math.sqrt(2)
    shapes = (cosines @ grey @ cosines.T).flatten(1)[:, 1:]
    return shapes, torch.nn.functional.adaptive_avg_pool2d(small, 8).flatten(1)
