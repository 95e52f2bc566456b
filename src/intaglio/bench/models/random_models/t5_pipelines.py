"""Random pipelines of transformers that read T5: Stable Diffusion 3, FLUX.1, Chroma, PixArt-Sigma, AuraFlow."""

import warnings
from typing import Any, cast

import torch
from diffusers.models.transformers.auraflow_transformer_2d import AuraFlowTransformer2DModel
from diffusers.models.transformers.pixart_transformer_2d import PixArtTransformer2DModel
from diffusers.models.transformers.transformer_chroma import ChromaTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from diffusers.pipelines.aura_flow.pipeline_aura_flow import AuraFlowPipeline
from diffusers.pipelines.chroma.pipeline_chroma import ChromaPipeline
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
from diffusers.pipelines.pixart_alpha.pipeline_pixart_sigma import PixArtSigmaPipeline
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tokenizers.processors import TemplateProcessing
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    LlamaTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from intaglio.bench.models.random_models.clip_parts import autoencoder, drawn_by, shaken, text_encoder, tokenizer

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


def t5(words: T5Tokenizer, width: int = JOINT) -> Any:
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
    with drawn_by(seed):
        words, more, third = tokenizer(), tokenizer(), t5_tokenizer()
        config: dict[str, Any] = {
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
            vae=autoencoder(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=text_encoder(words, CLIP_L, CLIPTextModelWithProjection),
            tokenizer=words,
            text_encoder_2=text_encoder(more, CLIP_G, CLIPTextModelWithProjection),
            tokenizer_2=more,
            text_encoder_3=cast(Any, t5(third, joint) if with_t5 else None),
            tokenizer_3=third if with_t5 else None,
        )


def flux_pipeline(seed: int = 0, *, guidance: bool = True, schedule=(), **changes):
    """The layout of FLUX.1, of the kind that takes the guidance scale unless told otherwise."""
    with drawn_by(seed):
        words, second = tokenizer(), t5_tokenizer()
        config: dict[str, Any] = {
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
        shifting: dict[str, Any] = {"shift": 3.0, "use_dynamic_shifting": True} if guidance else {"shift": 1.0}
        return FluxPipeline(
            transformer=shaken(FluxTransformer2DModel(**{**config, **changes})),
            scheduler=FlowMatchEulerDiscreteScheduler(**{**shifting, **dict(schedule)}),
            vae=autoencoder(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=text_encoder(words, CLIP_L, CLIPTextModel),
            tokenizer=words,
            text_encoder_2=t5(second),
            tokenizer_2=second,
        )


def chroma_pipeline(seed: int = 0, schedule=(), **changes):
    """The layout of Chroma."""
    with drawn_by(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # on an import of diffusers' own
        words = t5_tokenizer()
        config: dict[str, Any] = {
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
            vae=autoencoder(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=t5(words),
            tokenizer=words,
        )


def pixart_pipeline(seed: int = 0, **changes):
    """The layout of PixArt-Sigma; its solver is of first order, which is DDIM, at the timesteps that are taken here."""
    with drawn_by(seed):
        words = t5_tokenizer()
        solver: Any = DPMSolverMultistepScheduler(
            beta_start=1e-4, beta_end=0.02, solver_order=1, timestep_spacing="trailing", final_sigmas_type="zero"
        )
        config: dict[str, Any] = {
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
            scheduler=solver,
            vae=autoencoder(),
            text_encoder=t5(words),
            tokenizer=words,
        )


def pile_tokenizer() -> Any:
    """A token a printable letter, and one that ends a prompt."""
    letters = ["\N{LOWER ONE EIGHTH BLOCK}", *map(chr, range(33, 127))]
    vocabulary = {piece: place for place, piece in enumerate(["<unk>", "<pad>", "</s>", *letters])}
    made: Any = LlamaTokenizer(
        vocab=vocabulary, merges=[], bos_token="</s>", pad_token="<pad>", padding_side="right", model_max_length=512
    )
    made.backend_tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return made


def auraflow_pipeline(seed: int = 0, schedule=(), **changes):
    """The layout of AuraFlow."""
    with drawn_by(seed):
        words = pile_tokenizer()
        config: dict[str, Any] = {
            "sample_size": 8,
            "num_mmdit_layers": 1,
            "num_single_dit_layers": 1,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "joint_attention_dim": 32,
            "caption_projection_dim": 16,
            "pos_embed_max_size": 64,
        }
        text = UMT5Config(vocab_size=len(words), d_model=32, d_kv=16, d_ff=32, num_layers=2, num_heads=2)
        made = shaken(AuraFlowTransformer2DModel(**{**config, **changes}))
        with torch.no_grad():  # gates of fresh blocks are near 0, so that they would not tell prompts apart
            for name, weight in made.named_parameters():
                if ".norm1" in name:
                    weight.normal_(0, 0.5)
        return AuraFlowPipeline(
            transformer=made,
            scheduler=FlowMatchEulerDiscreteScheduler(**{"shift": 1.73, **dict(schedule)}),
            vae=autoencoder(),
            text_encoder=UMT5EncoderModel(text).eval(),
            tokenizer=words,
        )
