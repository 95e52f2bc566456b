"""Random pipelines in the layouts of Stable Diffusion 1/2 and XL."""

from typing import Any

from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from transformers import CLIPTextModelWithProjection

from intaglio.bench.models.random_models.clip_parts import (
    autoencoder,
    drawn_by,
    scheduler,
    text_encoder,
    tokenizer,
    unet,
)


def sd_pipeline(seed: int = 0, prediction: str = "epsilon", *, unet_changes=(), schedule=()) -> StableDiffusionPipeline:
    """The layout of Stable Diffusion 1/2, with random weights that depend on `seed` only."""
    with drawn_by(seed):
        words = tokenizer()
        nothing: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
        return StableDiffusionPipeline(
            vae=autoencoder(),
            text_encoder=text_encoder(words),
            tokenizer=words,
            unet=unet(**dict(unet_changes)),
            scheduler=scheduler(prediction, **dict(schedule)),
            requires_safety_checker=False,
            **nothing,
        )


def sdxl_pipeline(
    seed: int = 0, prediction: str = "epsilon", *, unet_changes=(), schedule=()
) -> StableDiffusionXLPipeline:
    """The layout of Stable Diffusion XL: two text encoders, a pooled embedding, the picture's size as condition."""
    with drawn_by(seed):
        words, more_words = tokenizer(), tokenizer()
        added: dict[str, Any] = {
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
