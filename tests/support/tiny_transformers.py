"""Tiny random pipelines of transformer denoisers, in the layouts of their families: built in a blink, saved on request.

Pictures are 16 px, latents 4x8x8, as those of `tiny`.
"""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.transformers.pixart_transformer_2d import PixArtTransformer2DModel
from diffusers.models.transformers.transformer_chroma import ChromaTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from diffusers.pipelines.chroma.pipeline_chroma import ChromaPipeline
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
from diffusers.pipelines.pixart_alpha.pipeline_pixart_sigma import PixArtSigmaPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tokenizers import pre_tokenizers
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

import tiny
import tiny_chat
from tiny_chat import shaken

JOINT = 48
"""Width of the text embeddings that denoisers take."""
CLIP_L, CLIP_G = 16, 24


def t5_tokenizer() -> T5Tokenizer:
    """Pieces of one letter, of words and of words with their space before them."""
    letters = [chr(c) for c in range(33, 127)]
    words = ["\N{LOWER ONE EIGHTH BLOCK}", "\N{LOWER ONE EIGHTH BLOCK}cat", "\N{LOWER ONE EIGHTH BLOCK}dog", "red"]
    pieces = ["<pad>", "</s>", "<unk>", *words, *letters]
    vocabulary = [(piece, 0.0 if k < 3 else -float(k)) for k, piece in enumerate(pieces)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=512)


def t5(words: T5Tokenizer, width: int = JOINT) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(words),
            d_model=width,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
        )
    ).eval()


def sd3_pipeline(seed: int = 0, *, with_t5: bool = True, joint: int = JOINT, schedule=(), **changes):
    """The layout of Stable Diffusion 3, with a second attention in its first block as 3.5 medium has."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words, more, third = tiny.tokenizer(), tiny.tokenizer(), t5_tokenizer()
        config = {
            "sample_size": 8,
            "patch_size": 2,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "joint_attention_dim": joint,
            "caption_projection_dim": 16,
            "pooled_projection_dim": CLIP_L + CLIP_G,
            "pos_embed_max_size": 8,
            "qk_norm": "rms_norm",
            "dual_attention_layers": (0,),
        }
        return StableDiffusion3Pipeline(
            transformer=shaken(SD3Transformer2DModel(**{**config, **changes})),
            scheduler=FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **dict(schedule)}),
            vae=tiny.autoencoder(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=tiny.text_encoder(words, CLIP_L, CLIPTextModelWithProjection),
            tokenizer=words,
            text_encoder_2=tiny.text_encoder(more, CLIP_G, CLIPTextModelWithProjection),
            tokenizer_2=more,
            text_encoder_3=t5(third, joint) if with_t5 else None,
            tokenizer_3=third if with_t5 else None,
        )


def flux_pipeline(seed: int = 0, *, guidance: bool = True, schedule=(), **changes):
    """The layout of FLUX.1, of the kind that takes the guidance scale unless told otherwise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words, second = tiny.tokenizer(), t5_tokenizer()
        config = {
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": JOINT,
            "pooled_projection_dim": CLIP_L,
            "guidance_embeds": guidance,
            "axes_dims_rope": (4, 4, 8),
        }
        shifting = {"shift": 3.0, "use_dynamic_shifting": True} if guidance else {"shift": 1.0}
        return FluxPipeline(
            transformer=shaken(FluxTransformer2DModel(**{**config, **changes})),
            scheduler=FlowMatchEulerDiscreteScheduler(**{**shifting, **dict(schedule)}),
            vae=tiny.autoencoder(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=tiny.text_encoder(words, CLIP_L, CLIPTextModel),
            tokenizer=words,
            text_encoder_2=t5(second),
            tokenizer_2=second,
        )


def chroma_pipeline(seed: int = 0, schedule=(), **changes):
    """The layout of Chroma."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # on an import of diffusers' own
        torch.manual_seed(seed)
        words = t5_tokenizer()
        config = {
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": JOINT,
            "axes_dims_rope": (4, 4, 8),
            "approximator_num_channels": 8,
            "approximator_hidden_dim": 16,
            "approximator_layers": 1,
        }
        return ChromaPipeline(
            transformer=shaken(ChromaTransformer2DModel(**{**config, **changes})),
            scheduler=FlowMatchEulerDiscreteScheduler(**{"use_dynamic_shifting": True, **dict(schedule)}),
            vae=tiny.autoencoder(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=t5(words),
            tokenizer=words,
        )


def pixart_pipeline(seed: int = 0, **changes):
    """The layout of PixArt-Sigma; its solver is of first order, which is DDIM, at the timesteps that are taken here."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words = t5_tokenizer()
        config = {
            "sample_size": 8,
            "in_channels": 4,
            "out_channels": 8,
            "num_layers": 1,
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "cross_attention_dim": 16,
            "caption_channels": JOINT,
            "use_additional_conditions": False,
        }
        return PixArtSigmaPipeline(
            transformer=shaken(PixArtTransformer2DModel(**{**config, **changes})),
            scheduler=DPMSolverMultistepScheduler(
                beta_start=1e-4, beta_end=0.02, solver_order=1, timestep_spacing="trailing", final_sigmas_type="zero"
            ),
            vae=tiny.autoencoder(),
            text_encoder=t5(words),
            tokenizer=words,
        )


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Every byte a token, and three for turns of a dialogue and padding."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Qwen2Tokenizer(vocab={letter: place for place, letter in enumerate(letters)}, merges=[])
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    made.model_max_length = 2**17
    return made


def qwen_vl(words: Qwen2Tokenizer, width: int = 32) -> Qwen2_5_VLForConditionalGeneration:
    text = {
        "vocab_size": len(words),
        "hidden_size": width,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 128000,
        "bos_token_id": None,
        "eos_token_id": words.pad_token_id,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6},
    }
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": width}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)).eval()


def qwen_pipeline(seed: int = 0, schedule=(), **changes):
    """The layout of Qwen-Image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words = qwen_tokenizer()
        config = {
            "in_channels": 16,
            "out_channels": 4,
            "num_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 32,
            "axes_dims_rope": (4, 4, 8),
        }
        shifts = {"base_shift": 0.5, "max_shift": 0.9, "max_image_seq_len": 8192, "shift_terminal": 0.02}
        shifts |= {"use_dynamic_shifting": True}
        return QwenImagePipeline(
            transformer=shaken(QwenImageTransformer2DModel(**{**config, **changes})),
            scheduler=FlowMatchEulerDiscreteScheduler(**{**shifts, **dict(schedule)}),
            vae=AutoencoderKLQwenImage(
                base_dim=4,
                z_dim=4,
                dim_mult=[1, 2],
                num_res_blocks=1,
                temperal_downsample=[False],
                latents_mean=[0.1, -0.2, 0.3, 0.0],
                latents_std=[1.5, 0.5, 2.0, 1.0],
            ),
            text_encoder=qwen_vl(words),
            tokenizer=words,
        )


PIPELINES: dict[str, Callable] = {
    "sd3": sd3_pipeline,
    "sd3-without-t5": lambda seed=0: sd3_pipeline(seed, with_t5=False),
    "flux1-dev": flux_pipeline,
    "flux1-schnell": lambda seed=0: flux_pipeline(seed, guidance=False),
    "zimage": tiny_chat.zimage_pipeline,
    "klein": tiny_chat.klein_pipeline,
    "chroma": chroma_pipeline,
    "qwen-image": qwen_pipeline,
    "pixart-sigma": pixart_pipeline,
}
"""Makers of tiny pipelines, by kind; each takes a seed."""


def folder_of(kind: str, folder: Path, seed: int = 0) -> Path:
    """Saves a pipeline of a kind in `PIPELINES`; returns `folder`."""
    PIPELINES[kind](seed).save_pretrained(folder, safe_serialization=True)
    if kind == "qwen-image":  # whose pipeline knows the published side alone
        index = Path(folder) / "model_index.json"
        index.write_text(json.dumps({**json.loads(index.read_text()), "sample_size": 8}))
    return Path(folder)
