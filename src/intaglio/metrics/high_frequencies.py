"""The energy of pictures by frequency."""

import torch
from jaxtyping import Float
from torch import Tensor


def high_frequency_energy(pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Mean square of what a picture has at more than a quarter of a cycle a pixel, along the height or the width.

    These are the outer half of the frequencies along each side, 3/4 of all of them.
    """
    found = torch.fft.fft2(pixels.double(), norm="ortho").abs().square()
    y, x = (torch.fft.fftfreq(side, device=pixels.device, dtype=torch.float64).abs() for side in pixels.shape[-2:])
    outer = (y[:, None] > 0.25) | (x > 0.25)
    return (found * outer).flatten(1).mean(1)
