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

    A mask belongs to the picture of its name, whatever the suffix. Raises `BadInput` for one that cannot be read.
    """
    if folder is None:
        return {}, ()
    by_stem = {Path(one.name).with_suffix("").as_posix(): one.name for one in originals}
    found, foreign = {}, []
    for entry in list_pictures(folder).entries:
        name = by_stem.get(Path(entry.name).with_suffix("").as_posix())
        if name is None:
            foreign.append(entry.name)
            continue
        try:
            found[name] = np.asarray(read_original(entry.path, entry.name).pixels.mean(-1), np.uint8)
        except UnusableError as error:
            raise BadInput(f"the mask {entry.path} cannot be used: {error}") from error
    return found, (f"masks of no picture, and ignored: {', '.join(foreign)}",) if foreign else ()
