"""Tiny random pipelines in the layouts of Stable Diffusion 1/2 and XL, for tests: built in a blink, saved on request.

Pictures are 16 px, latents 4x8x8, the text encoders know some 300 tokens of letters and short words.
"""

import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from intaglio.bench.models.random_models import clip_parts
from intaglio.bench.models.random_models.unet_pipelines import sd_pipeline, sdxl_pipeline
from intaglio.images.image_set import ImageSet
from intaglio.models.flow.config import TarFlowConfig
from intaglio.models.flow.tarflow import TarFlow

RESOLUTION, FACTOR, CHANNELS, LENGTH = clip_parts.RESOLUTION, clip_parts.FACTOR, clip_parts.CHANNELS, clip_parts.LENGTH
MERGES, tokenizer, text_encoder = clip_parts.MERGES, clip_parts.tokenizer, clip_parts.text_encoder
autoencoder, unet, scheduler = clip_parts.autoencoder, clip_parts.unet, clip_parts.scheduler


def sd_folder(folder: Path, seed: int = 0, prediction: str = "epsilon", **changes) -> Path:
    """Saves a pipeline in the layout of Stable Diffusion 1/2; returns `folder`."""
    sd_pipeline(seed, prediction, **changes).save_pretrained(folder, safe_serialization=True)
    return Path(folder)


def sdxl_folder(folder: Path, seed: int = 0, prediction: str = "epsilon", **changes) -> Path:
    """Saves a pipeline in the layout of Stable Diffusion XL; returns `folder`."""
    sdxl_pipeline(seed, prediction, **changes).save_pretrained(folder, safe_serialization=True)
    return Path(folder)


def pixels(count: int = 2, seed: int = 0, side: int = RESOLUTION) -> torch.Tensor:
    """Random smooth pictures, float32 [count, 3, side, side] in [0, 1]."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear").clamp(0, 1)


def pair_folders(folder: Path) -> tuple[Path, Path]:
    """A base, and a suspect with other weights in its denoiser, as folders."""
    base = sd_folder(folder / "base")
    return base, fine_tune_folder(base, folder / "suspect")


def fine_tune_folder(base: Path, folder: Path) -> Path:
    """A copy of a model's folder with other weights in its denoiser alone; returns `folder`."""
    shutil.copytree(base, folder)
    (weights,) = (folder / "unet").glob("*.safetensors")
    generator = torch.Generator().manual_seed(0)
    changed = {k: v + 0.01 * torch.randn(v.shape, generator=generator) for k, v in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    return folder


def some_pictures(seed: int, count: int) -> ImageSet:
    """Pictures of noise, named after the seed."""
    pixels = torch.rand(count, 3, RESOLUTION, RESOLUTION, generator=torch.Generator().manual_seed(seed))
    return ImageSet.from_pixels(pixels, [f"{seed}-{place}" for place in range(count)])


def flow(*, size=(8, 8), patch=2, blocks=3, spread=0.2, double=True, seed=0, **further) -> TarFlow:
    """A flow with an output projection that is not zero, without which every test would be empty."""
    settings = {"hidden_size": 32, "head_dim": 16, "layers_per_block": (1,) * blocks, "num_classes": 3}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TarFlow(TarFlowConfig(image_size=size, patch_size=patch, num_blocks=blocks, **{**settings, **further}))
        for index in range(blocks):
            block = model.block(index)
            torch.nn.init.normal_(block.proj_out.weight, std=spread / math.sqrt(32))
            torch.nn.init.normal_(block.proj_out.bias, std=spread)
            torch.nn.init.normal_(block.positions, std=0.5)
            if block.classes is not None:
                torch.nn.init.normal_(block.classes, std=0.5)
    return (model.double() if double else model).eval().requires_grad_(False)
