"""Random pipelines in the layout of Qwen-Image, which reads Qwen 2.5 VL."""

from typing import Any

from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tokenizers import pre_tokenizers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from intaglio.bench.models.random_models.clip_parts import drawn_by, shaken


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Every byte a token, and three for turns of a dialogue and padding."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Qwen2Tokenizer(vocab={letter: place for place, letter in enumerate(letters)}, merges=[])
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    made.model_max_length = 2**17
    return made


def qwen_vl(words: Qwen2Tokenizer, width: int = 32) -> Any:
    text: dict[str, Any] = {
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
    with drawn_by(seed):
        words = qwen_tokenizer()
        config: dict[str, Any] = {
            "in_channels": 16,
            "out_channels": 4,
            "num_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 32,
            "axes_dims_rope": (4, 4, 8),
        }
        shifts: dict[str, Any] = {
            "base_shift": 0.5,
            "max_shift": 0.9,
            "max_image_seq_len": 8192,
            "shift_terminal": 0.02,
            "use_dynamic_shifting": True,
        }
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
