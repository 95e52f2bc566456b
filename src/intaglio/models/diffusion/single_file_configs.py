"""Network settings of the families of models that single files hold, as published with their weights.

Such files do not store them, and nothing is downloaded.
"""

from dataclasses import dataclass
from typing import Any

_CROSS, _PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
_CROSS_UP, _PLAIN_UP = "CrossAttnUpBlock2D", "UpBlock2D"

_UNET = {"in_channels": 4, "out_channels": 4, "layers_per_block": 2}
_UNET_1_2 = {
    **_UNET,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (_CROSS, _CROSS, _CROSS, _PLAIN),
    "up_block_types": (_PLAIN_UP, _CROSS_UP, _CROSS_UP, _CROSS_UP),
}
_AUTOENCODER = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "block_out_channels": (128, 256, 512, 512),
    "act_fn": "silu",
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
_CLIP = {"vocab_size": 49408, "max_position_embeddings": 77, "bos_token_id": 49406, "eos_token_id": 49407}
_CLIP_L = {
    **_CLIP,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
_CLIP_H = {  # one layer fewer than the file holds: the model was trained on the last but one
    **_CLIP,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 1024,
}
_CLIP_G = {
    **_CLIP,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}

SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
"""The scheduler's settings in all these families, without the prediction type."""


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder within a single file."""

    prefix: str
    """Prefix of its keys."""
    open_clip: bool
    """Whether its keys are in OpenCLIP's naming; else in that of transformers."""


@dataclass(frozen=True)
class PublishedFamily:
    """Settings that the checkpoints of a family share."""

    name: str
    texts: tuple[TextEncoder, ...]
    configs: dict[str, dict[str, Any]]
    prediction: str | None  # None: the family has models of both kinds, which look the same


FAMILIES = {
    "sd1": PublishedFamily(
        "Stable Diffusion 1.x",
        (TextEncoder("cond_stage_model.transformer.", open_clip=False),),
        {
            "denoiser": {**_UNET_1_2, "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
            "autoencoder": {**_AUTOENCODER, "sample_size": 512, "scaling_factor": 0.18215},
            "text_encoder": _CLIP_L,
        },
        "epsilon",
    ),
    "sd2": PublishedFamily(
        "Stable Diffusion 2.x",
        (TextEncoder("cond_stage_model.model.", open_clip=True),),
        {
            "denoiser": {
                **_UNET_1_2,
                "sample_size": 64,
                "cross_attention_dim": 1024,
                "attention_head_dim": (5, 10, 20, 20),
                "use_linear_projection": True,
                "upcast_attention": True,
            },
            "autoencoder": {**_AUTOENCODER, "sample_size": 768, "scaling_factor": 0.18215},
            "text_encoder": _CLIP_H,
        },
        None,
    ),
    "sdxl": PublishedFamily(
        "Stable Diffusion XL",
        (
            TextEncoder("conditioner.embedders.0.transformer.", open_clip=False),
            TextEncoder("conditioner.embedders.1.model.", open_clip=True),
        ),
        {
            "denoiser": {
                **_UNET,
                "block_out_channels": (320, 640, 1280),
                "down_block_types": (_PLAIN, _CROSS, _CROSS),
                "up_block_types": (_CROSS_UP, _CROSS_UP, _PLAIN_UP),
                "transformer_layers_per_block": (1, 2, 10),
                "attention_head_dim": (5, 10, 20),
                "cross_attention_dim": 2048,
                "use_linear_projection": True,
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 2816,
                "sample_size": 128,
            },
            "autoencoder": {**_AUTOENCODER, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
            "text_encoder": _CLIP_L,
            "text_encoder_2": _CLIP_G,
        },
        "epsilon",
    ),
}

SIDE_V = 96
"""Latent cells a side of Stable Diffusion 2.x where it predicts the velocity: those models draw 768 pixels."""

WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""The family by the width of the text embeddings that the denoiser takes."""
