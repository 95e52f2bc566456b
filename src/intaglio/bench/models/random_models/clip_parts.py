"""Small random parts of pipelines that read CLIP: tokenizer, text encoder, autoencoder, U-Net, scheduler.

Pictures are 16 px, latents 4x8x8, the text encoders know some 300 tokens of letters and short words.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

RESOLUTION, FACTOR, CHANNELS, LENGTH = 16, 2, 4, 12
"""Pixels a side, pixels a latent cell, latent channels, tokens a prompt."""
MERGES: Any = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>")]


def tokenizer() -> CLIPTokenizer:
    """CLIP's byte-pair encoding over printable ASCII, with three words of its own: cat, dog, red."""
    symbols = [chr(c) for c in range(33, 127)]
    words = [*symbols, *(s + "</w>" for s in symbols), *("".join(pair) for pair in MERGES)]
    vocab = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=MERGES, model_max_length=LENGTH)


def text_encoder(words: Any, hidden: int = 16, kind: Any = CLIPTextModel) -> Any:
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
    config: dict[str, Any] = {
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
    config: dict[str, Any] = {
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


def scheduler(prediction: str = "epsilon", **changes) -> Any:
    config: dict[str, Any] = {
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


def shaken(network):
    """The network with every weight of zeros made random: those of fresh ones begin there and give zeros."""
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():
                weight.normal_(0, 0.05)
    return network.eval()


@contextmanager
def drawn_by(seed: int) -> Iterator[None]:
    """The random state of torch, which weights are drawn by, set by a seed; afterwards it is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield
