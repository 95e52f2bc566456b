"""JPEG coding and decoding with a gradient: the transform is exact, and rounding passes the gradient as it is."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from intaglio.errors import BadInput

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Steps of the luminance's coefficients at quality 50: ITU-T T.81, table K.1."""
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Those of the chrominance: table K.2."""
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""Luminance and chrominance of red, green and blue (JFIF)."""


@dataclass(frozen=True)
class JpegCoding:
    """A picture saved as a JPEG and opened again, with its chrominance at half the size, as by libjpeg's default.

    It is not linear. Each round number has the gradient of the number that was rounded.
    """

    quality: int = 50
    """JPEG's quality, 1 to 100."""

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"the quality of jpeg must be 1 to 100, not {self.quality}")

    def side(self, pixels: int) -> int:
        """The same side."""
        return pixels

    def forward(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The pictures as their JPEGs show them, not clipped. Raises `BadInput` for pictures without three colours."""
        if pixels.shape[1] != 3:
            raise BadInput(f"jpeg measures pictures of three colours, not of {pixels.shape[1]}; take another operator")
        height, width = pixels.shape[2:]
        whole = pad(255 * pixels, (0, -width % 16, 0, -height % 16), "replicate")
        colours = torch.tensor(YCBCR).to(pixels)
        y, *chroma = torch.einsum("kc,nchw->nkhw", colours, whole).split(1, 1)
        y = self._quantised(y - 128, LUMINANCE) + 128
        small = self._quantised(avg_pool2d(torch.cat(chroma, 1), 2), CHROMINANCE)
        large = interpolate(small, scale_factor=2, mode="bilinear")
        found = torch.einsum("ck,nkhw->nchw", torch.linalg.inv(colours.double()).to(pixels), torch.cat([y, large], 1))
        return found[..., :height, :width] / 255

    def back(self, measured: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The same: a JPEG is a picture already."""
        return measured

    def _quantised(self, plane: Tensor, table: tuple[tuple[int, ...], ...]) -> Tensor:
        """Planes after the coefficients of their blocks of 8 x 8 were rounded to steps."""
        scale = 5000 / self.quality if self.quality < 50 else 200 - 2 * self.quality
        steps = ((torch.tensor(table) * scale + 50) // 100).clamp(1, 255).to(plane)
        n, c, h, w = plane.shape
        blocks = plane.view(n, c, h // 8, 8, w // 8, 8).transpose(3, 4)
        cosines = _cosines().to(plane)
        found = cosines @ blocks @ cosines.T / steps
        rounded = found + (found.round() - found).detach()
        back = cosines.T @ (rounded * steps) @ cosines
        return back.transpose(3, 4).reshape(n, c, h, w)


def _cosines() -> Float[Tensor, "8 8"]:
    """The orthonormal cosine transform of eight numbers, a row each frequency."""
    k, place = torch.arange(8.0)[:, None], torch.arange(8.0)
    rows = (math.pi * (place + 0.5) * k / 8).cos() / 2
    return torch.cat([rows[:1] / math.sqrt(2), rows[1:]])
