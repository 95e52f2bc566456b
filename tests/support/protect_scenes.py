"""A tiny surrogate, and pictures of odd sizes and modes to protect."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from audit_scenes import model
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.originals import Original, read_originals
from intaglio.protect.surrogate import Surrogate

__all__ = ["model", "originals", "surrogate"]


@contextmanager
def surrogate(net: LatentDiffusion, prompt: str = "") -> Iterator[Surrogate]:
    with Surrogate.of(net, prompt, micro_batch=4) as given:
        yield given


def originals(folder: Path, sizes=((16, 16), (16, 16), (21, 40))) -> list[Original]:
    """Pictures of these heights and widths, of random pixels, the last one with transparency."""
    random = np.random.default_rng(0)
    for place, (height, width) in enumerate(sizes):
        last = place == len(sizes) - 1
        pixels = random.integers(0, 256, (height, width, 4 if last else 3), np.uint8)
        if last:
            pixels[: height // 2, :, 3] = 0
        Image.fromarray(pixels).save(folder / f"{place}.png")
    return read_originals(folder, 16)[0]
