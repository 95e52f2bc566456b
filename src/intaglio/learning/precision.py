"""The setting of mixed precision: networks compute in half precision; weights, moments and losses stay float32."""

from dataclasses import dataclass
from typing import Literal, get_args

from intaglio.errors import require

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class MixedPrecision:
    """The setting of a training whose networks may compute in half precision; its owner calls `check_precision`."""

    precision: Precision = "float32"
    """Arithmetic inside the networks while they are trained: bfloat16 and float16 by autocast (arXiv 1710.03740), with
    weights, moments, losses and gradients of weights in float32; float16 scales the losses by a power of two."""


def check_precision(precision: str) -> None:
    """Raises `ValueError` for one that there is not."""
    known = get_args(Precision)
    require(precision in known, f"precision must be one of {', '.join(known)}, not {precision!r}")
