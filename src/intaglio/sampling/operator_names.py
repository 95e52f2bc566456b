"""Measurement operators by the words of a command line, such as `mean-pool:4`; and files of masks and measurements."""

import re
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.images.decode import UnusableError, decode, explained
from intaglio.images.picture_file import open_picture
from intaglio.sampling.operator import Operator
from intaglio.sampling.operators.gaussian_blur import GaussianBlur
from intaglio.sampling.operators.jpeg_coding import JpegCoding
from intaglio.sampling.operators.masking import Masking
from intaglio.sampling.operators.mean_pool import MeanPool

BY_NUMBER = {"mean-pool": (MeanPool, int), "blur": (GaussianBlur, float), "jpeg": (JpegCoding, int)}
BOX = re.compile(r"mask:(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5})")
KNOWN = "mean-pool:FACTOR, blur:SIGMA, jpeg:QUALITY, mask:LEFT,TOP,RIGHT,BOTTOM, or mask with a file"


def check_operator(spec: str) -> None:
    """Raises `ValueError` for words that name no operator."""
    kind, _, value = spec.partition(":")
    if kind in BY_NUMBER:
        make, number = BY_NUMBER[kind]
        try:
            given = number(value)
        except ValueError:
            raise ValueError(f"operator {spec!r} lacks its number; use one of {KNOWN}") from None
        make(given)
    elif box := BOX.fullmatch(spec):
        left, top, right, bottom = map(int, box.groups())
        if left >= right or top >= bottom:
            raise ValueError(f"operator {spec} has an empty box; give mask:LEFT,TOP,RIGHT,BOTTOM in pixels")
    elif spec != "mask":
        raise ValueError(f"operator {spec!r} is not known; use one of {KNOWN}")


def operator_of(spec: str, mask: Path | None, pixels: int) -> Operator:
    """The operator that checked words name, for pictures of `pixels` a side.

    Raises `BadInput` for pictures that it does not measure, and for a mask that is missing or too much, cannot be read,
    is of another size, or leaves no pixel known.
    """
    if (mask is not None) != (spec == "mask"):
        raise BadInput(f"the operator mask needs a file, and no other takes one; give --mask or not, beside {spec}")
    kind, _, value = spec.partition(":")
    if kind in BY_NUMBER:
        make, number = BY_NUMBER[kind]
        operator = make(number(value))
        operator.side(pixels)
        return operator
    known = torch.ones(1, 1, pixels, pixels)
    if box := BOX.fullmatch(spec):
        left, top, right, bottom = map(int, box.groups())
        if right > pixels or bottom > pixels:
            raise BadInput(f"the box of {spec} does not lie in a picture of {pixels} pixels a side; give a smaller one")
        known[..., top:bottom, left:right] = 0
    elif mask is not None:
        known = (exact_picture(Path(mask), pixels, "mask").mean(1, keepdim=True) >= 0.5).float()
    if not known.any():
        raise BadInput(f"{mask or spec} leaves no pixel known; white pixels of a mask are known, black ones are not")
    return Masking(known)


def exact_picture(path: Path, side: int, flag: str) -> Float[Tensor, "1 3 side side"]:
    """Pixels in [0, 1] of a picture file that has that many a side.

    Raises `BadInput`, with the flag by which it is given, for another size and for a file that cannot be read.
    """
    try:
        with explained(path), open_picture(path) as image:
            width, height = image.size
        if (width, height) != (side, side):
            raise BadInput(
                f"{path} has {width}x{height} pixels, and {side}x{side} are wanted by the model and the operator; give "
                f"--{flag} of that size"
            )
        return torch.from_numpy(decode(path, side).pixels)[None].float() / 255
    except UnusableError as error:
        raise BadInput(f"{path} cannot be used as --{flag}: {error}") from None
