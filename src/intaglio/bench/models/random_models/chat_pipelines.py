"""Random pipelines whose text encoder is the language model Qwen 3: Z-Image and FLUX.2 klein."""

from typing import Any

from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel
from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline
from diffusers.pipelines.z_image.pipeline_z_image import ZImagePipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM, Qwen3Model

from intaglio.bench.models.random_models.clip_parts import CHANNELS, RESOLUTION, autoencoder, drawn_by, shaken

WIDTH = 16
"""Width of the text encoders."""
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }} {{ message.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>a{% endif %}{% if not enable_thinking %}<think>{% endif %}"
)


def chat_tokenizer() -> Any:
    """A token a printable letter, and those of chats; prompts of 48 tokens at most."""
    letters = [*map(chr, range(33, 127)), "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}"]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: place for place, token in enumerate([*letters, *special])}
    return Qwen2Tokenizer(
        vocab=vocabulary, merges=[], additional_special_tokens=special[1:], chat_template=TEMPLATE, model_max_length=48
    )


def language_model(words: Qwen2Tokenizer, kind: Any, layers: int, **changes) -> Any:
    config: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 48,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "eos_token_id": words.eos_token_id,
    }
    return kind(Qwen3Config(**{**config, **changes})).eval()


def zimage_pipeline(seed: int = 0, *, shift: float = 6.0, **changes):
    """The layout of Z-Image; of Z-Image-Turbo with a shift of 3."""
    with drawn_by(seed):
        words = chat_tokenizer()
        config: dict[str, Any] = {
            "in_channels": CHANNELS,
            "dim": 32,
            "n_layers": 1,
            "n_refiner_layers": 1,
            "n_heads": 2,
            "n_kv_heads": 2,
            "cap_feat_dim": WIDTH,
            "axes_dims": [4, 4, 8],
            "axes_lens": [1024, 32, 32],
        }
        return ZImagePipeline(
            transformer=shaken(ZImageTransformer2DModel(**{**config, **changes})),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=shift),
            vae=autoencoder(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=language_model(words, Qwen3Model, 2),
            tokenizer=words,
        )


def klein_pipeline(seed: int = 0, *, distilled: bool = False, **changes):
    """The layout of FLUX.2 klein; its text encoder is as deep as the third layer that is read."""
    with drawn_by(seed):
        words = chat_tokenizer()
        config: dict[str, Any] = {
            "in_channels": 4 * CHANNELS,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 3 * WIDTH,
            "timestep_guidance_channels": 16,
            "axes_dims_rope": (4, 4, 4, 4),
            "guidance_embeds": False,
        }
        return Flux2KleinPipeline(
            transformer=shaken(Flux2Transformer2DModel(**{**config, **changes})),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
            vae=klein_autoencoder(),
            text_encoder=language_model(words, Qwen3ForCausalLM, 27, tie_word_embeddings=True),
            tokenizer=words,
            is_distilled=distilled,
        )


def klein_autoencoder() -> AutoencoderKLFlux2:
    made = AutoencoderKLFlux2(
        block_out_channels=(4, 8),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=RESOLUTION,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    norm: Any = made.bn
    norm.running_mean.normal_(0, 0.1)
    norm.running_var.uniform_(0.5, 2.0)
    return made.eval()
