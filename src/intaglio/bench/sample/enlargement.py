"""Pictures at twice their size by `c-upscale`, beside plain windows and bicubic interpolation."""

import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from intaglio.images.image_set import ImageSet, save_png
from intaglio.metrics.quality import psnr
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.loop import sample
from intaglio.sampling.methods.c_upscale import CUpscale

FACTOR, SCALE = 2, 4.0
"""Times as many pixels along a side, and the guidance scale."""
INK, LEAST_AREA = 0.2, 20
"""Darkness from which a pixel is no background, and pixels of the smallest part that counts."""
PLAIN: dict[str, Any] = {"structure": 0.0, "least_attention": 0.0}
"""Settings of windows that are left to themselves."""


def enlargement_figures(model: LatentDiffusion, pictures: ImageSet, *, quick: bool, seed: int) -> dict[str, float]:
    """Means over pictures with captions, of `upscale`, of plain `windows`, and of bicubic interpolation.

    `psnr`, decibels, is of the result's means over blocks against the picture; `detail` the energy of the Laplacian
    over that of bicubic interpolation; `parts` counts connected parts that are no background, which windows that draw
    their object each add to.
    """
    count, steps = (2, 8) if quick else (12, 20)
    rows = [k * len(pictures) // count for k in range(count)]
    chosen, captions = pictures.pixels[rows], [str((pictures.captions or [])[row]) for row in rows]
    bicubic = interpolate(chosen, scale_factor=FACTOR, mode="bicubic", align_corners=False).clamp(0, 1)
    found = {"bicubic": bicubic}
    for name, settings in (("upscale", {}), ("windows", PLAIN)):
        drawn = [
            enlarged(model, picture, caption, seed, steps, **settings)
            for picture, caption in zip(chosen, captions, strict=True)
        ]
        found[name] = torch.stack(drawn)
    figures = {}
    for name, pixels in found.items():
        figures[f"{name}_psnr"] = float(psnr(avg_pool2d(pixels, FACTOR), chosen).mean())
        figures[f"{name}_parts"] = float(np.mean([parts_of(one) for one in pixels]))
        figures[f"{name}_detail"] = float((_detail(pixels) / _detail(bicubic)).mean())
    return figures


def enlarged(
    model: LatentDiffusion, picture: Float[Tensor, "3 h w"], caption: str, seed: int, steps: int, **settings: Any
) -> Float[Tensor, "3 hb wb"]:
    """A picture at twice its size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.png"
        save_png(picture, path)
        method = CUpscale(picture=path, factor=FACTOR, **settings)
        found = sample(model, [caption], [seed], steps=steps, guidance_scale=SCALE, method=method)
    return found.pixels[0]


def parts_of(pixels: Float[Tensor, "3 h w"]) -> int:
    """Connected parts that are no background, of a picture on white."""
    labels, _ = cast(tuple[ndarray, int], ndimage.label((1 - pixels.min(0).values > INK).numpy()))
    return int((np.bincount(labels.ravel())[1:] >= LEAST_AREA).sum())


def _detail(pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
    """Energy of the Laplacian."""
    inner = pixels[:, :, 1:-1, 1:-1]
    beside = pixels[:, :, :-2, 1:-1] + pixels[:, :, 2:, 1:-1] + pixels[:, :, 1:-1, :-2] + pixels[:, :, 1:-1, 2:]
    return (beside - 4 * inner).square().mean((1, 2, 3))
