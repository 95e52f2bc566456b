"""A tiny surrogate, and pictures of odd sizes and modes to protect."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from audit_scenes import model
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.originals import Original, read_originals
from intaglio.protect.purify.family import Purifier
from intaglio.protect.surrogate import Surrogate

__all__ = ["PlantedPurifier", "levels", "model", "originals", "surrogate"]


@dataclass(frozen=True, kw_only=True)
class PlantedPurifier(Purifier):
    """A purifier that does as a function says."""

    does: Callable[[Tensor, "LatentDiffusion | None", int], Tensor]

    @property
    def label(self) -> str:
        return "planted"

    @property
    def words(self) -> str:
        return "planted"

    def clean(self, pictures: Tensor, model: "LatentDiffusion | None", seed: int) -> Tensor:
        return self.does(pictures, model, seed)


def levels(count: int = 2, side: int = 16, seed: int = 0) -> Tensor:
    """Random pictures of whole grey levels, [count, 3, side, side] in [0, 1]."""
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed)) / 255


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
