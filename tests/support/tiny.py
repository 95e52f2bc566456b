"""Tiny random pipelines in the layouts of Stable Diffusion 1/2 and XL, for tests: built in a blink, saved on request.

Pictures are 16 px, latents 4x8x8, the text encoders know some 300 tokens of letters and short words.
"""

import math
import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from intaglio.images.image_set import ImageSet
from intaglio.models.flow.config import TarFlowConfig
from intaglio.models.flow.tarflow import TarFlow

RESOLUTION, FACTOR, CHANNELS, LENGTH = 16, 2, 4, 12
"""Pixels a side, pixels a latent cell, latent channels, tokens a prompt."""

MERGES = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>")]


def tokenizer() -> CLIPTokenizer:
    """CLIP's byte-pair encoding over printable ASCII, with three words of its own: cat, dog, red."""
    symbols = [chr(c) for c in range(33, 127)]
    words = [*symbols, *(s + "</w>" for s in symbols), *("".join(pair) for pair in MERGES)]
    vocab = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=MERGES, model_max_length=LENGTH)


def text_encoder(words: CLIPTokenizer, hidden: int = 16, kind: type = CLIPTextModel) -> torch.nn.Module:
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        projection_dim=hidden,
        hidden_act="quick_gelu",
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return kind(config)


def autoencoder(**changes) -> AutoencoderKL:
    config = {
        "block_out_channels": (4, 8),
        "layers_per_block": 1,
        "latent_channels": CHANNELS,
        "norm_num_groups": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "sample_size": RESOLUTION,
        "scaling_factor": 0.5,
        "mid_block_add_attention": False,
    }
    return AutoencoderKL(**{**config, **changes})


def unet(cross: int = 16, **changes) -> UNet2DConditionModel:
    config = {
        "sample_size": RESOLUTION // FACTOR,
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": cross,
    }
    return UNet2DConditionModel(**{**config, **changes})


def scheduler(prediction: str = "epsilon", **changes) -> DDIMScheduler:
    config = {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": prediction,
    }
    return DDIMScheduler(**{**config, **changes})


def sd_pipeline(seed: int = 0, prediction: str = "epsilon", *, unet_changes=(), schedule=()) -> StableDiffusionPipeline:
    """The layout of Stable Diffusion 1/2, with random weights that depend on `seed` only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words = tokenizer()
        return StableDiffusionPipeline(
            vae=autoencoder(),
            text_encoder=text_encoder(words),
            tokenizer=words,
            unet=unet(**dict(unet_changes)),
            scheduler=scheduler(prediction, **dict(schedule)),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def sdxl_pipeline(
    seed: int = 0, prediction: str = "epsilon", *, unet_changes=(), schedule=()
) -> StableDiffusionXLPipeline:
    """The layout of Stable Diffusion XL: two text encoders, a pooled embedding, the picture's size as condition."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words, more_words = tokenizer(), tokenizer()
        added = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 24,
        }
        return StableDiffusionXLPipeline(
            vae=autoencoder(),
            text_encoder=text_encoder(words),
            tokenizer=words,
            text_encoder_2=text_encoder(more_words, 24, CLIPTextModelWithProjection),
            tokenizer_2=more_words,
            unet=unet(16 + 24, **{**added, **dict(unet_changes)}),
            scheduler=scheduler(prediction, **dict(schedule)),
        )


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
