"""gaussian-shading: a message in the signs of the noise that a picture is drawn from, lossless over keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.protect.fingerprint.family import MarkAgreement, NoiseMark, bit_agreement, upper_tail
from intaglio.protect.fingerprint.mark_key import MarkKey

LEAST_BITS = 64
"""Bits of a message, at least, where the factor is left open: few enough users share one."""


@dataclass(frozen=True, kw_only=True)
class GaussianShading(NoiseMark):
    """Gaussian Shading: the signs of the starting noise are a message under a key stream.

    A user's message of c (h/f) (w/f) bits is repeated to all c h w cells of the latents, XOR a stream of the secret and
    the picture's seed gives a bit a cell, and the cell's noise is |xi| where it is 1 and -|xi| where it is 0, with xi
    the noise that the seed gives without a mark. To who has not the secret that is standard normal noise, picture by
    picture. Read are the signs of the inverted noise: all c h w of them against a user's, p = P(B >= b) for
    B ~ Binomial(c h w, 1/2), and by majorities of f^2 cells the message.

    The seed is the nonce of a picture: without one all pictures of a user would share their signs, and their average
    would forge the mark. Detection tries a list of seeds, each of which costs a factor in p.

    Source: arXiv 2404.04956 (CVPR 2024). The published code draws the magnitude anew, which has the same law; it calls
    at b where P(B > b) is below the asked rate, one bit too early; its test is of the majorities, ours of all cells.
    """

    reading: ClassVar[str] = "the signs of the noise that the picture was drawn from"
    null = "key"
    nonces = True

    factor: int | None = None
    """Side f of the square of cells that carry one bit, from 1; it must divide the sides of the latents. None takes the
    largest of 8, 4, 2 and 1 that leaves 64 bits: 8, as published, for latents of 64 x 64."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.factor is None or self.factor >= 1, f"factor must be at least 1, not {self.factor}")

    def check_shape(self, shape: Sequence[int], what: str) -> None:
        """Raises `BadInput` for latents whose sides the factor does not divide."""
        factor = self._factor(shape)
        if shape[-2] % factor or shape[-1] % factor:
            raise BadInput(
                f"{what} has latents of {shape[-1]}x{shape[-2]} cells, which squares of {factor} do not fill; "
                "give a --factor that divides both sides"
            )

    def marked(
        self, noise: Float[Tensor, "n c h w"], key: MarkKey, user: int, seeds: Sequence[int]
    ) -> Float[Tensor, "n c h w"]:
        """Noise of the same sizes, with the signs of the message under each seed's stream."""
        shape = tuple(noise.shape[1:])
        message = self._spread(self.meant(key, [user], shape), shape)[0]
        signs = torch.stack([message ^ self._stream(key, seed, shape) for seed in seeds])
        return torch.where(signs, noise.abs(), -noise.abs())

    def meant(self, key: MarkKey, users: Sequence[int], shape: Sequence[int]) -> Bool[Tensor, "k m"]:
        """The users' messages."""
        factor = self._factor(shape)
        count = shape[0] * (shape[1] // factor) * (shape[2] // factor)
        return torch.stack([key.bits(count, "message", user) for user in users])

    def agreement(
        self, readings: Float[Tensor, "n c h w"], meant: Bool[Tensor, "k m"], key: MarkKey, nonce: int = 0
    ) -> MarkAgreement:
        """Agreement of all signs, and of the message by majorities."""
        cells = (readings > 0) ^ self._stream(key, nonce, tuple(readings.shape[1:]))
        votes, marks = self._gathered(cells), meant.double()
        most, ones = votes.shape[-1], votes.sum(-1).double()
        right = (ones @ marks.T + (most - ones) @ (1 - marks).T).round()
        bits = bit_agreement(2 * ones > most, meant).bits
        return MarkAgreement(upper_tail(right, cells[0].numel()), right, bits)

    def _factor(self, shape: Sequence[int]) -> int:
        """The side of a bit's square, for latents of this shape."""
        if self.factor is not None:
            return self.factor
        channels, height, width = shape[-3:]
        fitting = [f for f in (8, 4, 2) if not (height % f or width % f)]
        return next((f for f in fitting if channels * (height // f) * (width // f) >= LEAST_BITS), 1)

    def _stream(self, key: MarkKey, nonce: int, shape: tuple[int, ...]) -> Bool[Tensor, "c h w"]:
        count = shape[0] * shape[1] * shape[2]
        return key.bits(count, "stream", nonce).view(shape)

    def _spread(self, messages: Bool[Tensor, "k m"], shape: tuple[int, ...]) -> Bool[Tensor, "k c h w"]:
        """Messages repeated to all cells: tiled, so that the cells of a bit lie apart."""
        factor = self._factor(shape)
        small = messages.view(len(messages), shape[0], shape[1] // factor, shape[2] // factor)
        return small.repeat(1, 1, factor, factor)

    def _gathered(self, cells: Bool[Tensor, "n c h w"]) -> Bool[Tensor, "n m f"]:
        """The cells of each bit of the message."""
        n, c, h, w = cells.shape
        factor = self._factor((c, h, w))
        parts = cells.view(n, c, factor, h // factor, factor, w // factor)
        return parts.permute(0, 1, 3, 5, 2, 4).reshape(n, c * (h // factor) * (w // factor), -1)
