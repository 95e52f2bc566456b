"""Pictures pixel by pixel, in plain torch: PSNR and SSIM of pairs, and the roughness of one alone."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def psnr(a: Float[Tensor, "n c h w"], b: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
    """Peak signal-to-noise ratio in decibels, for pictures in [0, 1]; infinite for equal pictures."""
    error = (a.double() - b.double()).square().mean((1, 2, 3))
    return (-10 * torch.log10(error)).float()


def ssim(a: Float[Tensor, "n c h w"], b: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
    """Structural similarity in [-1, 1], 1 for equal pictures in [0, 1].

    The settings of the paper: Gaussian window of deviation 1.5 cut at 11 pixels, K1 = 0.01, K2 = 0.03, population
    covariances, a channel at a time, mean over the pixels whose window lies inside. Pictures smaller than 11 pixels
    are scored with the largest odd window that fits.

    Source: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004, equations 13 to 16.
    """
    channels = a.shape[1]
    size = min(11, *(side - (side + 1) % 2 for side in a.shape[-2:]))
    window = _gaussian(size, 1.5).to(a.device)
    down, across = (window.view(shape).expand(channels, 1, *shape[2:]) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))

    def local(x: Tensor) -> Tensor:
        return functional.conv2d(functional.conv2d(x, down, groups=channels), across, groups=channels)

    x, y = a.double(), b.double()
    mean_x, mean_y = local(x), local(y)
    # Rounding can leave a variance of a flat patch a hair below zero.
    var_x = (local(x * x) - mean_x**2).clamp_min(0)
    var_y = (local(y * y) - mean_y**2).clamp_min(0)
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    values = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    values = values / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return values.mean((1, 2, 3)).float()


def roughness(pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
    """The power that a 3x3 median takes out of each picture in [0, 1]: speckles and noise, and little of edges.

    A proxy for the absence of noise where no quality network is at hand: it needs no reference, but textures count too.
    """
    padded = functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
    middle = padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4).median(dim=-1).values
    return (pixels - middle).square().mean((1, 2, 3))


def _gaussian(size: int, deviation: float) -> Tensor:
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * deviation**2))
    return weights / weights.sum()
