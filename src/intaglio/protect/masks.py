"""Masks of pictures: white where a picture may change, black where it must stay."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from intaglio.errors import BadInput
from intaglio.images.decode import UnusableError
from intaglio.images.folder import list_pictures
from intaglio.protect.originals import Original, read_original


def read_masks(
    folder: Path | None, originals: Sequence[Original]
) -> tuple[dict[str, UInt8[ndarray, "h w"]], tuple[str, ...]]:
    """Masks by the name of their picture, upright; and warnings of masks that belong to none.

    A mask belongs to the picture of its name, or of its name with another suffix; where it is transparent it is black.
    Raises `BadInput` for one that cannot be read, and for two of one picture.
    """
    if folder is None:
        return {}, ()
    names, listing = {one.name for one in originals}, list_pictures(folder)
    by_stem = {Path(name).with_suffix("").as_posix(): name for name in names}
    found, taken, foreign = {}, dict[str, str](), list(listing.problems)
    for entry in listing.entries:
        name = entry.name if entry.name in names else by_stem.get(Path(entry.name).with_suffix("").as_posix())
        if name is None:
            foreign.append(entry.name)
            continue
        if (other := taken.setdefault(name, entry.name)) != entry.name:
            raise BadInput(f"{other} and {entry.name} of {folder} are both masks of {name}; keep one of them")
        try:
            found[name] = _levels(read_original(entry.path, entry.name))
        except UnusableError as error:
            raise BadInput(f"the mask {entry.path} cannot be used: {error}") from error
    return found, (f"masks of no picture, and ignored: {', '.join(foreign)}",) if foreign else ()


def _levels(mask: Original) -> UInt8[ndarray, "h w"]:
    grey = mask.pixels.mean(-1)
    return np.asarray(grey if mask.alpha is None else grey * (mask.alpha / 255), np.uint8)
