"""Payloads: random messages that are hidden in pictures and read again with what the sender knows.

Each embeds so that its own pictures are read without fault, or nearly so, before anybody changes them.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.errors import require
from intaglio.images.image_set import to_uint8
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.protect.fingerprint.methods.dwt_dct import DwtDct
from intaglio.randomness import generator

Pictures = Float[Tensor, "n 3 h w"]
PASSES = 12
"""Times that pictures are changed and rounded, at most, until they are read right."""
DWT_DCT = DwtDct()
"""The mark as its defaults have it."""


class Stego(NamedTuple):
    """Pictures with payloads."""

    pixels: Pictures
    """In 8 bits, in [0, 1]."""
    meant: Bool[Tensor, "n m"]
    """The hidden bits, those of each picture drawn for itself."""


class Payload(ABC):
    """A way to hide random bits. Key and bits of picture k follow from (seed, k)."""

    @abstractmethod
    def hide(self, pictures: Pictures, seed: int) -> Stego:
        """Pictures in [0, 1] with random bits in them."""

    @abstractmethod
    def read(self, pictures: Pictures, seed: int) -> Bool[Tensor, "n m"]:
        """The bits that the receiver of pictures reads, who knows the seed."""

    def bit_errors(self, pictures: Pictures, meant: Bool[Tensor, "n m"], seed: int) -> Float[Tensor, "n"]:
        """The share of each picture's bits that read wrong: 1/2, not 1, where nothing is left of them."""
        return (self.read(pictures, seed) != meant).double().mean(1)


@dataclass(frozen=True)
class LowBits(Payload):
    """LSB replacement: the lowest bit of a share of the numbers, in places that the key chooses, becomes a bit."""

    share: float = 1.0
    """Share of the numbers that carry a bit, above 0, to 1."""

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, f"share must be above 0, and at most 1, not {self.share}")

    def hide(self, pictures: Pictures, seed: int) -> Stego:
        """The pictures, of which at most one level a number is changed."""
        levels, places = to_uint8(pictures).flatten(1), self._places(pictures, seed)
        meant = _random_bits(len(pictures), places.shape[1], seed)
        changed = levels.scatter(1, places, (levels.gather(1, places) & 254) | meant.to(torch.uint8))
        return Stego(changed.view(pictures.shape).float() / 255, meant)

    def read(self, pictures: Pictures, seed: int) -> Bool[Tensor, "n m"]:
        """The lowest bits at the key's places."""
        levels = to_uint8(pictures).flatten(1)
        return (levels.gather(1, self._places(pictures, seed)) & 1).bool()

    def _places(self, pictures: Pictures, seed: int) -> Int[Tensor, "n m"]:
        size = pictures[0].numel()
        taken = max(1, round(self.share * size))
        sources = [generator(seed, "places", k) for k in range(len(pictures))]
        return torch.stack([torch.randperm(size, generator=source)[:taken] for source in sources])


@dataclass(frozen=True)
class BlockColours(Payload):
    """The mark `dwt-dct` of `protect fingerprint`, with a key a picture."""

    mark: DwtDct = DWT_DCT

    def hide(self, pictures: Pictures, seed: int) -> Stego:
        """The pictures as `protect fingerprint` gives them back."""
        keys = self._keys(len(pictures), seed)
        found = [self.mark.embed(one[None], key, 0) for one, key in zip(pictures, keys, strict=True)]
        return Stego(torch.cat(found), torch.cat([self.mark.meant(key, [0], ()) for key in keys]))

    def read(self, pictures: Pictures, seed: int) -> Bool[Tensor, "n m"]:
        """The majorities of blocks."""
        return self.mark.read(pictures) > 0.5

    @staticmethod
    def _keys(count: int, seed: int) -> list[MarkKey]:
        draws = torch.randint(2**62, (count,), generator=generator(seed, "keys"))
        return [MarkKey.of_seed(int(one)) for one in draws]


@dataclass(frozen=True)
class Projections(Payload):
    """Spread-transform dither modulation: bits by quantised projections onto secret patterns (Chen, Wornell, 2001).

    With m orthonormal patterns p_i over a picture's levels x, c_i = <p_i, x> becomes (k + 1/4 + b_i/2) step, with k the
    whole number that comes nearest; a bit is c_i mod step > step/2. The change has a root mean square of about
    `strength` levels, since step = strength sqrt(12 N / m) of N numbers. Pictures are clipped and rounded, and changed
    again as long as a bit reads wrong, up to 12 times.
    """

    bits: int = 32
    """Number m of the patterns."""
    strength: float = 2.5
    """Root mean square of the change, in levels of 255, about."""
    tile: int = 0
    """Side of the square of pixels that a pattern repeats, a divisor of the picture's; 0 for no repetition."""
    highest: float = float("inf")
    """Highest waves of a pattern, in periods a side of the tile."""

    def hide(self, pictures: Pictures, seed: int) -> Stego:
        """The pictures, changed until they read right."""
        patterns, meant = self._patterns(pictures, seed), _random_bits(len(pictures), self.bits, seed)
        step, found = self._step(pictures), to_uint8(pictures).double()
        for _ in range(PASSES):
            sizes = self._sizes(found, patterns)
            wrong = (self._bits(sizes, step) != meant).any(1)
            if not wrong.any():
                break
            above = 0.25 + 0.5 * meant
            wanted = ((sizes / step - above).round() + above) * step
            change = torch.einsum("nm,nmchw->nchw", wanted - sizes, patterns)
            times = [whole // part for whole, part in zip(found.shape[-2:], change.shape[-2:], strict=True)]
            changed = found + change.repeat(1, 1, *times) / (times[0] * times[1]) ** 0.5
            found = torch.where(wrong[:, None, None, None], changed.clamp(0, 255).round(), found)
        return Stego((found / 255).float(), meant)

    def read(self, pictures: Pictures, seed: int) -> Bool[Tensor, "n m"]:
        """The upper halves of steps."""
        sizes = self._sizes(to_uint8(pictures).double(), self._patterns(pictures, seed))
        return self._bits(sizes, self._step(pictures))

    def _bits(self, sizes: Float[Tensor, "n m"], step: float) -> Bool[Tensor, "n m"]:
        return sizes % step > step / 2

    def _step(self, pictures: Pictures) -> float:
        return self.strength * (12 * pictures[0].numel() / self.bits) ** 0.5

    def _sizes(self, levels: Pictures, patterns: Float[Tensor, "n m 3 t u"]) -> Float[Tensor, "n m"]:
        """The projections onto patterns that are repeated over the picture, of length 1 as a whole."""
        height, width = patterns.shape[-2:]
        folded = levels.unflatten(3, (-1, width)).sum(3).unflatten(2, (-1, height)).sum(2)
        times = levels[0, 0].numel() / (height * width)
        return torch.einsum("nmchw,nchw->nm", patterns, folded) / times**0.5

    def _patterns(self, pictures: Pictures, seed: int) -> Float[Tensor, "n m 3 t u"]:
        """Of each picture, float64, orthonormal."""
        height, width = (self.tile or side for side in pictures.shape[-2:])
        found = [self._drawn(height, width, generator(seed, "key", k)) for k in range(len(pictures))]
        return torch.stack(found)

    def _drawn(self, height: int, width: int, source: torch.Generator) -> Float[Tensor, "m 3 t u"]:
        noise = torch.randn(self.bits, 3, height, width, generator=source, dtype=torch.float64)
        if self.highest < float("inf"):
            rows, columns = torch.fft.fftfreq(height) * height, torch.fft.rfftfreq(width) * width
            distance = (rows[:, None] ** 2 + columns**2).sqrt()
            kept = (distance > 0) & (distance <= self.highest)
            noise = torch.fft.irfft2(torch.fft.rfft2(noise) * kept, s=(height, width))
        return torch.linalg.qr(noise.flatten(1).T).Q.T.reshape(noise.shape)


def _random_bits(count: int, bits: int, seed: int) -> Bool[Tensor, "n m"]:
    """Of each picture, of the seed and its place."""
    rows = [torch.randint(0, 2, (bits,), generator=generator(seed, "payload", k)) for k in range(count)]
    return torch.stack(rows).bool()


TILES = Projections(tile=16, highest=5.0)
"""Quiet repeated tiles of low waves."""
HELD_OUT = Projections()
"""White patterns over the whole picture; no purifier here was trained on it."""
