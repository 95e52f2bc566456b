"""Pictures of planted sources: white noise about grey, with a fixed pattern of each source."""

import torch

from intaglio.images.image_set import ImageSet

SIGMA = 8 / 255


def pattern(source: int, side: int, size: float = 1 / 255):
    """[3, s, s] of a root mean square of `size`."""
    drawn = torch.randn(3, side, side, generator=torch.Generator().manual_seed(1000 + source))
    return drawn / drawn.square().mean().sqrt() * size


def planted(source: int, count: int, side: int = 16, *, size: float = 4 / 255, seed: int = 0) -> ImageSet:
    """Pictures of a source, as 8-bit pictures."""
    noise = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed * 100 + source))
    pixels = 0.5 + SIGMA * noise + pattern(source, side, size)
    return ImageSet.from_pixels((pixels.clamp(0, 1) * 255).round() / 255)


def coloured(source: int, count: int, side: int = 32, *, seed: int = 0) -> ImageSet:
    """Noise whose high frequencies fall with the number of the source."""
    noise = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed * 100 + source))
    near = (noise + noise.roll(1, -1) + noise.roll(1, -2)) / 3
    pixels = 0.5 + SIGMA * (noise + 0.25 * source * (near - noise))
    return ImageSet.from_pixels((pixels.clamp(0, 1) * 255).round() / 255)


def tiled(source: int, count: int, side: int, *, size: float, noise: float = SIGMA, seed: int = 0) -> ImageSet:
    """Noise about grey with a pattern of 4x4 pixels that is repeated over the picture, not rounded to 8 bits."""
    tile = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(2000 + source))
    whole = (tile / tile.square().mean().sqrt() * size).repeat(1, side // 4, side // 4)
    drawn = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed * 100 + source))
    return ImageSet.from_pixels(0.5 + noise * drawn + whole)
