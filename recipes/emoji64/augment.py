"""What happens to copies: random changes of pictures [n, 3, h, w] in [0, 1], in plain torch, a generator for each.

No mirror images: left and right variants of an emoji are different pictures.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, conv2d, grid_sample, interpolate, pad

WEAK = {"scale": (0.95, 1.05), "shift": 0.03, "angle": 2.0, "colour": 0.05}
STRONG = {"scale": (0.7, 1.25), "shift": 0.12, "angle": 15.0, "colour": 0.25}


def uniform(count: int, low: float, high: float, source: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=source)


def moved(pixels: Tensor, scale: tuple[float, float], shift: float, angle: float, source: torch.Generator) -> Tensor:
    """Enlarged or reduced, turned by up to `angle` degrees, moved by up to `shift` of the side, on white."""
    count = len(pixels)
    turn = uniform(count, -angle, angle, source) * math.pi / 180
    low, high = (math.log(s) for s in scale)
    size = uniform(count, low, high, source).exp()
    stretch = uniform(count, -0.1 * high, 0.1 * high, source).exp()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = turn.cos() / size * stretch, -turn.sin() / size
    theta[:, 1, 0], theta[:, 1, 1] = turn.sin() / size, turn.cos() / size / stretch
    theta[:, :, 2] = 2 * uniform(2 * count, -shift, shift, source).view(count, 2)
    grid = affine_grid(theta, list(pixels.shape), align_corners=False)
    return 1 - grid_sample(1 - pixels, grid, padding_mode="zeros", align_corners=False)


def recoloured(pixels: Tensor, strength: float, source: torch.Generator) -> Tensor:
    """Random brightness, contrast, saturation, and a small mixing of the channels."""
    count = len(pixels)
    grey = pixels.mean(1, keepdim=True)
    saturation, contrast, brightness = (
        1 + uniform(3 * count, -strength, strength, source).view(3, count, 1, 1, 1)
    ).unbind()
    out = grey + (pixels - grey) * saturation
    out = 0.5 + (out - 0.5) * contrast
    mix = torch.eye(3) + uniform(9 * count, -0.3 * strength, 0.3 * strength, source).view(count, 3, 3)
    mix = mix / mix.sum(2, keepdim=True)  # white stays white
    return torch.einsum("nij,njhw->nihw", mix, out * brightness)


def blurred(pixels: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `sigma` pixels."""
    radius = max(1, math.ceil(2.5 * sigma))
    line = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    line = line / line.sum()
    channels = pixels.shape[1]
    out = pad(pixels, [radius] * 4, mode="replicate")
    out = conv2d(out, line.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)
    return conv2d(out, line.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)


def resampled(pixels: Tensor, side: int) -> Tensor:
    """Reduced to `side` pixels and enlarged again."""
    small = interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)
    return interpolate(small, size=pixels.shape[-2:], mode="bicubic")


def compressed(pixels: Tensor, step: float) -> Tensor:
    """As JPEG does it: 8 x 8 cosine transform, coefficients rounded to steps that grow with frequency."""
    k, n = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    basis = torch.cos(math.pi * (2 * n + 1) * k / 16) * torch.where(k == 0, 0.5 / math.sqrt(2), 0.5)
    steps = step * (1 + k + n.new_tensor(range(8))[None]) / 255
    count, channels, height, width = pixels.shape
    blocks = pixels.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    coefficients = (basis @ blocks @ basis.T / steps).round() * steps
    return (basis.T @ coefficients @ basis).transpose(3, 4).reshape(pixels.shape)


def through_latents(pixels: Tensor, sigma: float, source: torch.Generator) -> Tensor:
    """Like an autoencoder that lost detail: a coarse picture, part of the fine detail, and blotches of 4 pixels."""
    coarse = interpolate(avg_pool2d(pixels, 2), scale_factor=2, mode="bilinear")
    keep = uniform(len(pixels), 0.0, 0.7, source).view(-1, 1, 1, 1)
    blotches = torch.randn(*pixels.shape[:2], pixels.shape[2] // 4, pixels.shape[3] // 4, generator=source)
    return coarse + keep * (pixels - coarse) + sigma * interpolate(blotches, scale_factor=4, mode="bilinear")


def augmented(pixels: Tensor, source: torch.Generator, strength: dict) -> Tensor:
    """One random copy of each picture."""
    colour = strength["colour"]
    out = moved(pixels, strength["scale"], strength["shift"], strength["angle"], source)
    out = recoloured(out, colour, source)
    parts = list(out.chunk(6))
    draws = uniform(12, 0, 1, source).tolist()
    parts[0] = blurred(parts[0], 0.4 + 6 * colour * draws[0])
    parts[1] = resampled(parts[1], round(48 - 100 * colour * draws[1]))
    parts[2] = compressed(parts[2], 4 + 40 * colour * draws[2])
    parts[3] = through_latents(parts[3], 0.2 * colour * draws[3], source)
    parts[4] = through_latents(blurred(parts[4], 0.3 + 3 * colour * draws[4]), 0.3 * colour * draws[5], source)
    out = torch.cat(parts)
    noise = torch.randn(out.shape, generator=source) * uniform(len(out), 0, 0.3 * colour, source).view(-1, 1, 1, 1)
    return (out + noise).clamp(0, 1)
