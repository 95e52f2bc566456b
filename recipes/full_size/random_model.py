"""A model of the shapes of Stable Diffusion 1.5 or XL with random weights: what a command costs, and not what it draws.

    python recipes/full_size/random_model.py --out FOLDER [--family sdxl] [--resolution 1024] [--device cuda]

Weights are written as float16. The tokenizer knows letters alone: prompts cost the same whatever their tokens are.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

FACTOR, LENGTH, TEXT = 8, 77, 768
"""Pixels a side of a latent cell, tokens of a prompt, width of the first text encoder."""
RESOLUTIONS = {"sd15": 512, "sdxl": 1024}
UNETS: dict[str, dict[str, Any]] = {
    "sd15": {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "attention_head_dim": 8},
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
SECOND_TEXT = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def letters() -> CLIPTokenizer:
    """CLIP's tokenizer over printable ASCII, without words."""
    symbols = [chr(code) for code in range(33, 127)]
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[], model_max_length=LENGTH)


def text_encoder(kind: type, words: CLIPTokenizer, **changes: Any) -> CLIPTextModel | CLIPTextModelWithProjection:
    """A text encoder of CLIP ViT-L's size, or of that which the changes give."""
    settings = {
        "hidden_size": TEXT,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    settings = {**settings, "projection_dim": changes.get("hidden_size", TEXT), **changes}
    return kind(CLIPTextConfig(**settings))


def autoencoder(resolution: int, scaling: float) -> AutoencoderKL:
    """The autoencoder that both families have, up to its scale."""
    return AutoencoderKL(
        sample_size=resolution,
        scaling_factor=scaling,
        latent_channels=4,
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    )


def pipeline(family: str, resolution: int) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """The family's networks with new weights, on torch's default device."""
    words, unet = letters(), UNet2DConditionModel(sample_size=resolution // FACTOR, **UNETS[family])
    scheduler = DDIMScheduler(**SCHEDULE)
    if family == "sdxl":
        return StableDiffusionXLPipeline(
            vae=autoencoder(resolution, 0.13025),
            text_encoder=text_encoder(CLIPTextModel, words),
            text_encoder_2=text_encoder(CLIPTextModelWithProjection, words, **SECOND_TEXT),
            tokenizer=words,
            tokenizer_2=letters(),
            unet=unet,
            scheduler=scheduler,
        )
    return StableDiffusionPipeline(
        vae=autoencoder(resolution, 0.18215),
        text_encoder=text_encoder(CLIPTextModel, words),
        tokenizer=words,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--family", choices=list(UNETS), default="sd15")
    parser.add_argument("--resolution", type=int, help="pixels a side; none takes 512, 1024 of sdxl")
    parser.add_argument("--device", default="cpu", help="where the weights are drawn")
    args = parser.parse_args()
    torch.manual_seed(0)
    with torch.device(args.device):
        made = pipeline(args.family, args.resolution or RESOLUTIONS[args.family])
    made.to(dtype=torch.float16).to("cpu").save_pretrained(args.out, safe_serialization=True)


if __name__ == "__main__":
    main()
