"""Purifiers: ways to clean pictures of a protection, as an imitator would before learning from them.

Each is a function of pictures [n, 3, h, w] in [0, 1] that keeps size and range. All but those that use a model are
deterministic; those are so for a seed.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from intaglio.images.image_set import to_uint8
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.denoising_walk import timesteps, walked
from intaglio.randomness import generator

Pictures = Float[Tensor, "n 3 h w"]


@dataclass(frozen=True)
class Purifier:
    """A way to clean pictures, by its name and in words."""

    name: str
    words: str
    clean: Callable[[Tensor, "LatentDiffusion | None", int], Tensor]
    """From pictures, a model for those that use one, and a seed to cleaned pictures."""
    uses_model: bool = False


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


@torch.no_grad()
def diffused(pictures: Pictures, model: LatentDiffusion, seed: int, *, share: float = 0.1, steps: int = 10) -> Pictures:
    """Pictures noised in the model's latents up to a share of its timesteps, and denoised again without a prompt.

    The idea of DiffPure (arXiv 2205.07460) with a latent diffusion model, by deterministic steps (DDIM). Pictures must
    be of the model's resolution.
    """
    with model.frozen():
        latents = model.encode(pictures).cpu()
        sources = [generator(seed, "diffuse", place) for place in range(len(latents))]
        clean = walked(model, latents, model.embed([""]).detach(), timesteps(model, share, steps), sources)
        return model.decode(clean.to(model.device)).cpu()


def _modelled(
    clean: Callable[[Tensor, LatentDiffusion, int], Tensor],
) -> Callable[[Tensor, "LatentDiffusion | None", int], Tensor]:
    """A purifier that needs its model. Raises `ValueError` without one."""

    def checked(pictures: Tensor, model: LatentDiffusion | None, seed: int) -> Tensor:
        if model is None:
            raise ValueError("this purifier needs a model")
        return clean(pictures, model, seed)

    return checked


def _noisy_upscaling(pictures: Tensor, model: LatentDiffusion, seed: int) -> Tensor:
    return diffused(resized(noised(pictures, 0.1, seed), 0.5), model, seed, share=0.2)


_EVERY = (
    Purifier("none", "nothing is done", lambda x, model, seed: x),
    Purifier("jpeg-90", "saved as JPEG of quality 90", lambda x, model, seed: jpeg(x, 90)),
    Purifier("jpeg-75", "saved as JPEG of quality 75", lambda x, model, seed: jpeg(x, 75)),
    Purifier("jpeg-50", "saved as JPEG of quality 50", lambda x, model, seed: jpeg(x, 50)),
    Purifier("resize", "shrunk to half its sides and enlarged again", lambda x, model, seed: resized(x, 0.5)),
    Purifier("blur", "blurred by a Gaussian of 1 pixel", lambda x, model, seed: blurred(x, 1.0)),
    Purifier("noise", "given Gaussian noise of 0.05 of the range", lambda x, model, seed: noised(x, 0.05, seed)),
    Purifier("tv", "smoothed by total variation", lambda x, model, seed: total_variation(x, 0.1)),
    Purifier("diffuse", "noised a little and denoised by a model", _modelled(diffused), uses_model=True),
    Purifier(
        "noisy-upscale",
        "noised, shrunk, enlarged and denoised by a model",
        _modelled(_noisy_upscaling),
        uses_model=True,
    ),
)
PURIFIERS: Mapping[str, Purifier] = {one.name: one for one in _EVERY}
"""By name. `noisy-upscale` stands for upscaling by a diffusion model of its own, which is not at hand: a proxy."""
