"""A small encoder that is blind to blue, and pictures of which blue is one bit."""

from typing import Any

import torch
from torch import Tensor

from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.encoder import Encoder, stored_state

SMALL: dict[str, Any] = {"generator_steps": 4, "encoder_steps": 3, "rows": 8, "width": 8, "copies": 1, "held": 0.3}
TAUGHT: dict[str, Any] = {
    "generator_steps": 60, "encoder_steps": 80, "rows": 16, "width": 8, "copies": 1, "held": 0.4,
    "generator_rate": 1e-2, "encoder_rate": 5e-3,
}  # fmt: skip
BLUR = 0.05
"""Noise of a reader, as otherwise any trace of the bit is readable."""


def blind_encoder() -> Encoder:
    """Three stages of few channels; what it makes of a picture does not depend on blue."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = Encoder((4, 6, 8), dim=8, size=16).eval().requires_grad_(False)
    made.stem[1].conv.weight[:, 8:] = 0  # of red, green and blue, four places each
    made.load_state_dict(stored_state(made), strict=False)
    return made


def blue_pictures(count: int) -> tuple[ImageSet, Tensor, Tensor]:
    """Pictures with noise in red and green, of which blue is one bit; latents [n, 1, 2, 2] of the bit; and the bits."""
    source = torch.Generator().manual_seed(0)
    bits = torch.arange(count) % 2
    pixels = torch.rand(count, 3, 4, 4, generator=source)
    pixels[:, 2] = 0.2 * pixels[:, 2] + 0.1 + 0.7 * bits[:, None, None]
    large = torch.nn.functional.interpolate(pixels, (16, 16), mode="nearest")
    return ImageSet.from_pixels(large, [f"p{k:03d}" for k in range(count)]), pixels[:, 2:, :2, :2].clone(), bits


def readable(encoder: Encoder, images: ImageSet, bits: Tensor) -> float:
    """Share of the second half of pictures whose bit a linear reader of descriptors tells, fitted to the first."""
    from sklearn.linear_model import LogisticRegression

    descriptors, half = encoder(images.pixels), len(bits) // 2
    noise = torch.randn(descriptors.shape, generator=torch.Generator().manual_seed(1))
    rows = (descriptors + BLUR * noise).numpy()
    reader = LogisticRegression(C=10.0).fit(rows[:half], bits[:half].numpy())
    return float(reader.score(rows[half:], bits[half:].numpy()))


def check_the_bit_becomes_readable(method: Any) -> None:
    """A method sharpens the blind encoder, and its measures say so."""
    images, latents, bits = blue_pictures(160)
    blind = blind_encoder()
    assert readable(blind, images, bits) < 0.65
    found = method(blind, images, latents)
    assert readable(found.encoder, images, bits) > 0.95
    assert found.loss_after.mean() < found.loss_before.mean() - 0.01
    assert found.loss_mistaken.mean() > found.loss_after.mean() + 0.01
    assert readable(blind, images, bits) < 0.65
