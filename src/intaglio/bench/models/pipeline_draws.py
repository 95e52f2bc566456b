"""Latents that diffusers' own pipelines draw from given ones, each kind asked in its own way."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.bench.models.random_models.clip_parts import RESOLUTION

CHAT_WORDS = 48
"""Tokens of the prompts of random language models."""
SCHNELL_WORDS = 256
"""Tokens of a prompt of FLUX.1 schnell for T5, which its pipeline has to be told."""

Draw = Callable[[Any, list[str], Tensor, int, float], Tensor]
"""A pipeline, prompts, latents [n, c, h, w], steps and guidance scale, in our sense, to clean latents [n, c, h, w]."""


def pipeline_latents(
    kind: str, pipe: Any, prompts: list[str], latents: Float[Tensor, "n c h w"], steps: int, scale: float
) -> Float[Tensor, "n c h w"]:
    """Clean latents from a random pipeline of a kind in `PIPELINES`; the negative prompt is empty."""
    with torch.no_grad():
        return _DRAWS[kind](pipe, prompts, latents, steps, scale)


def _asked(steps: int, scale: float) -> dict[str, Any]:
    side = {"height": RESOLUTION, "width": RESOLUTION, "output_type": "latent"}
    return {"num_inference_steps": steps, "guidance_scale": scale, **side}


def _plain(pipe: Any, prompts: list[str], latents: Tensor, steps: int, scale: float) -> Tensor:
    return pipe(prompts, negative_prompt=[""] * len(prompts), latents=latents, **_asked(steps, scale)).images


def _pixart(pipe: Any, prompts: list[str], latents: Tensor, steps: int, scale: float) -> Tensor:
    further = {"clean_caption": False, "use_resolution_binning": False}
    return pipe(prompts, latents=latents, **further, **_asked(steps, scale)).images


def _zimage(pipe: Any, prompts: list[str], latents: Tensor, steps: int, scale: float) -> Tensor:
    given = {**_asked(steps, scale - 1), "max_sequence_length": CHAT_WORDS}
    return pipe(list(prompts), negative_prompt=[""] * len(prompts), latents=latents, **given).images


def _sana(pipe: Any, prompts: list[str], latents: Tensor, steps: int, scale: float) -> Tensor:
    # The pipeline counts 32 pixels a cell in its own checks, whatever its autoencoder has.
    given = {**_asked(steps, scale), "height": 32, "width": 32, "use_resolution_binning": False}
    return pipe(prompts, latents=latents, **given).images


def _lumina(pipe: Any, prompts: list[str], latents: Tensor, steps: int, scale: float) -> Tensor:
    # As of an autoencoder of eight pixels a cell, whatever this one has.
    given = {**_asked(steps, scale), "height": 8 * latents.shape[-2], "width": 8 * latents.shape[-1]}
    return pipe(prompts, latents=latents, **given).images


def _flux2_dev(pipe: Any, prompts: list[str], latents: Tensor, steps: int, scale: float) -> Tensor:
    return pipe(prompt=prompts, latents=latents, **_asked(steps, scale)).images.mT.reshape(latents.shape)


def _klein(pipe: Any, prompts: list[str], latents: Tensor, steps: int, scale: float) -> Tensor:
    given = {**_asked(steps, scale), "max_sequence_length": CHAT_WORDS}
    raw = pipe(prompt=prompts, latents=latents, **given).images
    n, c, h, w = raw.shape
    # The pipeline gives latents of its autoencoder back; ours are those of its denoiser.
    cells = torch.stack([raw[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 2).reshape(n, 4 * c, h // 2, w // 2)
    return pipe.vae.bn(cells)


def _packed(**further: Any) -> Draw:
    """The way to ask pipelines that take four cells as one token."""

    def draw(pipe: Any, prompts: list[str], latents: Tensor, steps: int, scale: float) -> Tensor:
        n, c, h, w = latents.shape
        tokens = pipe._pack_latents(latents, n, c, h, w)
        found = pipe(prompts, latents=tokens, **{**_asked(steps, scale), **further}).images
        return pipe._unpack_latents(found, RESOLUTION, RESOLUTION, pipe.vae_scale_factor)

    return draw


def _qwen(pipe: Any, prompts: list[str], latents: Tensor, steps: int, scale: float) -> Tensor:
    negative = {"negative_prompt": [""] * len(prompts)} if scale > 1 else {}
    return _packed(guidance_scale=None, true_cfg_scale=scale, **negative)(pipe, prompts, latents, steps, scale)[:, :, 0]


_DRAWS: dict[str, Draw] = {
    "sd1": _plain,
    "sdxl": _plain,
    "sd3": _plain,
    "sd3-without-t5": _plain,
    "flux1-dev": _packed(),
    "flux1-schnell": _packed(max_sequence_length=SCHNELL_WORDS),
    "zimage": _zimage,
    "klein": _klein,
    "chroma": _packed(),
    "qwen-image": _qwen,
    "pixart-sigma": _pixart,
    "lumina2": _lumina,
    "auraflow": _plain,
    "sana": _sana,
    "flux2-dev": _flux2_dev,
}
"""By kind of `random_pipelines`."""
