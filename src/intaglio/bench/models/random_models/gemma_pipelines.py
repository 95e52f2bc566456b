"""Random pipelines whose text encoder is the language model Gemma 2: Lumina-Image 2 and SANA."""

from typing import Any

from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from diffusers.models.transformers.sana_transformer import SanaTransformer2DModel
from diffusers.models.transformers.transformer_lumina2 import Lumina2Transformer2DModel
from diffusers.pipelines.lumina2.pipeline_lumina2 import Lumina2Pipeline
from diffusers.pipelines.sana.pipeline_sana import SanaPipeline
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tokenizers.processors import TemplateProcessing
from transformers import Gemma2Config, Gemma2Model, GemmaTokenizer

from intaglio.bench.models.random_models.clip_parts import CHANNELS, autoencoder, drawn_by, shaken

WIDTH = 32
"""Width of the text encoders."""


def gemma_tokenizer() -> Any:
    """A token a printable letter, and one for every byte; a prompt has one more before it."""
    letters = ["\N{LOWER ONE EIGHTH BLOCK}", *map(chr, range(33, 127))]
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    made: Any = GemmaTokenizer(vocab={piece: place for place, piece in enumerate(pieces)}, merges=[])
    made.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    made.model_max_length = 8192
    return made


def gemma(words: Any, layers: int = 2, heads: int = 2) -> Any:
    config: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
    }
    return Gemma2Model(Gemma2Config(**config)).eval()


def lumina_pipeline(seed: int = 0, schedule=(), **changes):
    """The layout of Lumina-Image 2."""
    with drawn_by(seed):
        words = gemma_tokenizer()
        config: dict[str, Any] = {
            "sample_size": 8,
            "in_channels": CHANNELS,
            "hidden_size": 32,
            "num_layers": 1,
            "num_refiner_layers": 1,
            "num_attention_heads": 2,
            "num_kv_heads": 1,
            "multiple_of": 16,
            "axes_dim_rope": (4, 4, 8),
            "axes_lens": (300, 32, 32),
            "cap_feat_dim": WIDTH,
        }
        return Lumina2Pipeline(
            transformer=shaken(Lumina2Transformer2DModel(**{**config, **changes})),
            scheduler=FlowMatchEulerDiscreteScheduler(**{"shift": 6.0, **dict(schedule)}),
            vae=autoencoder(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=gemma(words),
            tokenizer=words,
        )


def dc_autoencoder() -> AutoencoderDC:
    """Of two pixels a cell, where the published one has 32."""
    sides: dict[str, Any] = {}
    for half in ("encoder", "decoder"):
        sides |= {f"{half}_block_types": ("ResBlock", "EfficientViTBlock"), f"{half}_block_out_channels": (8, 8)}
        sides |= {f"{half}_layers_per_block": (1, 1), f"{half}_qkv_multiscales": ((), (5,))}
    how = {"upsample_block_type": "interpolate", "downsample_block_type": "conv"}
    return AutoencoderDC(latent_channels=CHANNELS, attention_head_dim=2, scaling_factor=0.5, **how, **sides)


def sana_pipeline(seed: int = 0, schedule=(), **changes):
    """The layout of SANA; its solver is of first order, which is Euler's method along the path."""
    with drawn_by(seed):
        words = gemma_tokenizer()
        config: dict[str, Any] = {
            "sample_size": 8,
            "in_channels": CHANNELS,
            "out_channels": CHANNELS,
            "num_layers": 1,
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "num_cross_attention_heads": 2,
            "cross_attention_head_dim": 8,
            "cross_attention_dim": 16,
            "caption_channels": WIDTH,
        }
        solver: dict[str, Any] = {
            "solver_order": 1,
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "flow_shift": 3.0,
        }
        return SanaPipeline(
            transformer=shaken(SanaTransformer2DModel(**{**config, **changes})),
            scheduler=DPMSolverMultistepScheduler(**{**solver, **dict(schedule)}),
            vae=dc_autoencoder(),
            text_encoder=gemma(words, layers=1, heads=1),  # its prompts are of 1500 tokens
            tokenizer=words,
        )
