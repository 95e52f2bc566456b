"""Filters of pictures: functions of pictures [n, 3, h, w] in [0, 1] that keep the size, and need no model."""

import io

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from intaglio.images.image_set import to_uint8
from intaglio.randomness import generator

Pictures = Float[Tensor, "n 3 h w"]


def jpeg(pictures: Pictures, quality: int) -> Pictures:
    """Pictures saved as JPEG of a quality in 1..95 and read again."""
    return torch.stack([_through_jpeg(levels, quality) for levels in to_uint8(pictures)])


def _through_jpeg(levels: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    Image.fromarray(levels.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file, formats=("JPEG",)))).permute(2, 0, 1).float() / 255


def resized(pictures: Pictures, share: float) -> Pictures:
    """Pictures shrunk to a share of their sides and enlarged again, bicubic."""
    height, width = pictures.shape[-2:]
    small = (max(1, round(share * height)), max(1, round(share * width)))
    shrunk = functional.interpolate(pictures, small, mode="bicubic", antialias=True)
    return functional.interpolate(shrunk, (height, width), mode="bicubic").clamp(0, 1)


def blurred(pictures: Pictures, deviation: float) -> Pictures:
    """Pictures after a Gaussian of this standard deviation in pixels, mirrored at the border."""
    reach = max(1, round(3 * deviation))
    place = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weight = torch.exp(-(place**2) / (2 * deviation**2))
    weight = (weight / weight.sum()).expand(3, 1, -1)
    mode = "reflect" if min(pictures.shape[-2:]) > reach else "replicate"
    padded = functional.pad(pictures, [reach] * 4, mode=mode)
    rows = functional.conv2d(padded, weight[:, :, None], groups=3)
    return functional.conv2d(rows, weight[:, :, :, None], groups=3).clamp(0, 1)


def noised(pictures: Pictures, deviation: float, seed: int) -> Pictures:
    """Pictures with Gaussian noise of this standard deviation, of the range."""
    noise = torch.randn(pictures.shape, generator=generator(seed, "purify"))
    return (pictures + deviation * noise).clamp(0, 1)


def medians(pictures: Pictures, side: int) -> Pictures:
    """The median of each channel in squares of an odd number of pixels a side, mirrored at the border."""
    reach = side // 2
    mode = "reflect" if min(pictures.shape[-2:]) > reach else "replicate"
    padded = functional.pad(pictures, [reach] * 4, mode=mode)
    squares = padded.unfold(2, side, 1).unfold(3, side, 1)
    return squares.flatten(4).median(-1).values


def total_variation(pictures: Pictures, weight: float, steps: int = 100) -> Pictures:
    """The pictures u that minimise |u - pictures|^2 / 2 + weight TV(u), with isotropic total variation of all channels.

    By projected gradient on the dual (A. Chambolle, 2004): p <- (p + s grad(div p - x / weight)) / (1 + s |grad(...)|),
    with s of 1/4, which converges for steps up to 1/4.
    """
    p = torch.zeros(2, *pictures.shape)
    for _ in range(steps):
        slope = _differences(_divergence(p) - pictures / weight)
        size = slope.square().sum((0, 2), keepdim=True).sqrt()
        p = (p + 0.25 * slope) / (1 + 0.25 * size)
    return (pictures - weight * _divergence(p)).clamp(0, 1)


def _differences(u: Tensor) -> Tensor:
    """Forward differences down and to the right [2, n, c, h, w], 0 at the far border."""
    found = torch.zeros(2, *u.shape)
    found[0, ..., :-1, :] = u[..., 1:, :] - u[..., :-1, :]
    found[1, ..., :, :-1] = u[..., :, 1:] - u[..., :, :-1]
    return found


def _divergence(p: Tensor) -> Tensor:
    """Minus the adjoint of `_differences`."""
    down, right = p[0].clone(), p[1].clone()
    down[..., -1, :], right[..., :, -1] = 0, 0
    found = down + right
    found[..., 1:, :] -= down[..., :-1, :]
    found[..., :, 1:] -= right[..., :, :-1]
    return found
