"""dwt-dct: a message in the colour of pixels, by quantised coefficients of wavelets and cosines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.errors import require
from intaglio.protect.fingerprint.family import MarkAgreement, PixelMark, bit_agreement, check_bits
from intaglio.protect.fingerprint.mark_key import MarkKey

BLOCK = 4
"""Side of a block of the wavelet's approximation, which is twice as many pixels."""
GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness Y."""
PASSES = 12
"""Times that pictures are marked and rounded, at most, until they are read right."""


@dataclass(frozen=True, kw_only=True)
class DwtDct(PixelMark):
    """DwtDct: bits by quantising coefficients of the blue-difference channel.

    With U = 0.492 (B - Y) in grey levels, a [h/2, w/2] the approximation of its orthonormal Haar wavelet and D the
    orthonormal DCT of the j-th 4 x 4 block of a, the coefficient v of D that is largest in size, the constant one left
    out, becomes

        sign(v) (k + 1/4 + b/2) step,

    with b bit j mod m of the message and k the whole number that comes nearest to |v| and leaves v the largest. A block
    is read by |v| mod step > step/2, and a bit by the majority of its blocks. Pictures are clipped and rounded, and
    marked again as long as a block reads wrong, up to 12 times: white cannot become bluer, and takes part of a step
    away. The mark is at home in pictures that nobody changes: JPEG takes it away, wholly at 64 pixels a side, and at
    larger sizes as far as its quality is low.

    Source: the package `invisible-watermark`, which Stable Diffusion's first script uses; after Navas et al., "DWT-DCT-
    SVD based watermarking", COMSWARE 2008. With `published` it is done as the package does: no DCT in spite of the
    name, the wavelet's horizontal and vertical details swapped on the way back, YUV rounded to 8 bits, and k the floor
    of |v|/step, by which another coefficient may become the largest, once.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "small steps of colour, in every block of eight by eight pixels"
    null = "key"
    bench: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}, "published": {"published": True}}

    bits: int = 32
    """Length m of the message, 8 to 4096. At 64 x 64 pixels there are 64 blocks."""
    step: float = 36.0
    """Distance of the quantised coefficients, in grey levels of 255, above 0."""
    published: bool = False
    """As the package does it, for comparison."""

    def __post_init__(self) -> None:
        require(8 <= self.bits <= 4096, f"bits must be 8 to 4096, not {self.bits}")
        require(0 < self.step < float("inf"), f"step must be above 0, and finite, not {self.step}")

    @property
    def least_p(self) -> float:
        """That of a message that is read right in all its bits."""
        return 2.0**-self.bits

    def check_shape(self, shape: Sequence[int], what: str) -> None:
        """Raises `BadInput` for pictures with fewer blocks than bits."""
        height, width = (side // (2 * BLOCK) for side in shape[-2:])
        check_bits(height * width, self.bits, what, "leave it out, or mark with fewer --bits")

    def embed(self, pixels: Float[Tensor, "n 3 h w"], key: MarkKey, user: int) -> Float[Tensor, "n 3 h w"]:
        """The pixels with the message, in 8 bits; rows and columns beyond the last whole block stay."""
        height, width = (side // (2 * BLOCK) * 2 * BLOCK for side in pixels.shape[-2:])
        meant = self.meant(key, [user], ())[0, torch.arange(height * width // 64) % self.bits]
        found = pixels.double().clone()
        for _ in range(1 if self.published else PASSES):
            inner = found[..., :height, :width]
            wrong = (self._votes(inner) != meant).any(-1)
            marked = self._once(inner[wrong] * 255, meant).clamp(0, 255).round() / 255
            inner[wrong] = marked
        return found.float()

    def _once(self, levels: Float[Tensor, "n 3 h w"], meant: Bool[Tensor, "b"]) -> Float[Tensor, "n 3 h w"]:
        """Grey levels whose blocks read the bits that are meant, before any is clipped."""
        y, u, v = self._rounded(_yuv(levels))
        low, *details = _haar(u)
        changed = self._quantised(self._transformed(_blocks(low)), meant.double())
        size = (low.shape[-2], low.shape[-1])
        low = _unblocked(self._transformed(changed, back=True), size)
        if self.published:
            details[0], details[1] = details[1], details[0]
        return _rgb(*self._rounded((y, _unhaar(low, *details), v)))

    def read(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n m"]:
        """The share of its blocks that read 1, for each bit of the message."""
        height, width = (side // (2 * BLOCK) * 2 * BLOCK for side in pixels.shape[-2:])
        votes = self._votes(pixels[..., :height, :width]).double()
        sums = torch.zeros(len(pixels), self.bits, dtype=torch.float64)
        place = torch.arange(votes.shape[1]) % self.bits
        return sums.index_add(1, place, votes) / torch.bincount(place, minlength=self.bits)

    def meant(self, key: MarkKey, users: Sequence[int], shape: Sequence[int]) -> Bool[Tensor, "k m"]:
        """The users' messages."""
        return torch.stack([key.bits(self.bits, "message", user) for user in users])

    def agreement(
        self, readings: Float[Tensor, "n m"], meant: Bool[Tensor, "k m"], key: MarkKey, nonce: int = 0
    ) -> MarkAgreement:
        """Right bits of the majorities, with their chance for a key at random."""
        return bit_agreement(readings > 0.5, meant)

    def _votes(self, pixels: Float[Tensor, "n 3 h w"]) -> Bool[Tensor, "n b"]:
        """The bit that each block reads."""
        _, u, _ = self._rounded(_yuv(pixels.double() * 255))
        largest = self._transformed(_blocks(_haar(u)[0]))[..., 1:].abs().amax(-1)
        return largest % self.step > self.step / 2

    def _rounded(self, channels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(one.round() for one in channels) if self.published else channels

    def _transformed(self, blocks: Float[Tensor, "n b 16"], back: bool = False) -> Float[Tensor, "n b 16"]:
        """The DCT of blocks, or its inverse; the blocks themselves as it was published."""
        if self.published:
            return blocks
        basis = torch.kron(_cosines(), _cosines())
        return blocks @ (basis if back else basis.T)

    def _quantised(self, coefficients: Float[Tensor, "n b 16"], bits: Float[Tensor, "b"]) -> Float[Tensor, "n b 16"]:
        sizes = coefficients[..., 1:].abs()
        first, second = sizes.topk(2, -1).values.unbind(-1)
        places = sizes.argmax(-1) + 1
        v = coefficients.gather(-1, places[..., None])[..., 0]
        above = 0.25 + 0.5 * bits
        if self.published:
            steps = (first / self.step).floor()
        else:
            least = (second / self.step - above).floor() + 1
            steps = (first / self.step - above).round().maximum(least).clamp(min=0)
        size = (steps + above) * self.step
        return coefficients.scatter(-1, places[..., None], torch.where(v < 0, -size, size)[..., None])


def _yuv(rgb: Float[Tensor, "n 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
    red, _, blue = rgb.unbind(1)
    y = torch.einsum("c,nchw->nhw", torch.tensor(GREY, dtype=rgb.dtype), rgb)
    return y, 0.492 * (blue - y), 0.877 * (red - y)


def _rgb(y: Float[Tensor, "n h w"], u: Float[Tensor, "n h w"], v: Float[Tensor, "n h w"]) -> Float[Tensor, "n 3 h w"]:
    red, blue = y + v / 0.877, y + u / 0.492
    return torch.stack([red, (y - GREY[0] * red - GREY[2] * blue) / GREY[1], blue], 1)


def _haar(x: Float[Tensor, "n h w"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The approximation, and the details between rows, between columns and of both, of the orthonormal Haar wavelet."""
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    return (a + b + c + d) / 2, (a + b - c - d) / 2, (a - b + c - d) / 2, (a - b - c + d) / 2


def _unhaar(low: Tensor, rows: Tensor, columns: Tensor, both: Tensor) -> Float[Tensor, "n h w"]:
    """The inverse of `_haar`, which is its own but for the places."""
    found = low.new_zeros(len(low), 2 * low.shape[1], 2 * low.shape[2])
    quarters = _haar_sums(low, rows, columns, both)
    for place, quarter in enumerate(quarters):
        found[:, place // 2 :: 2, place % 2 :: 2] = quarter
    return found


def _haar_sums(low: Tensor, rows: Tensor, columns: Tensor, both: Tensor) -> list[Tensor]:
    signs = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
    return [(low + r * rows + c * columns + d * both) / 2 for r, c, d in signs]


def _blocks(low: Float[Tensor, "n h w"]) -> Float[Tensor, "n b 16"]:
    """Blocks of 4 x 4, row by row, each as 16 numbers."""
    cut = low.unfold(1, BLOCK, BLOCK).unfold(2, BLOCK, BLOCK)
    return cut.flatten(3).flatten(1, 2)


def _unblocked(blocks: Float[Tensor, "n b 16"], size: tuple[int, int]) -> Float[Tensor, "n h w"]:
    height, width = (side // BLOCK for side in size)
    whole = blocks.view(len(blocks), height, width, BLOCK, BLOCK)
    return whole.transpose(2, 3).reshape(len(blocks), *size)


def _cosines() -> Float[Tensor, "4 4"]:
    """The orthonormal DCT-II of 4 numbers, a row a frequency."""
    place = torch.arange(BLOCK, dtype=torch.float64)
    rows = torch.cos(torch.pi * (2 * place[None] + 1) * place[:, None] / (2 * BLOCK)) * (2 / BLOCK) ** 0.5
    rows[0] /= 2**0.5
    return rows
