"""Random pipelines in the layout of FLUX.2 dev, which reads Mistral Small 3."""

from typing import Any

from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
from diffusers.pipelines.flux2.pipeline_flux2 import Flux2Pipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tokenizers.processors import TemplateProcessing
from transformers import Mistral3Config, Mistral3ForConditionalGeneration, PreTrainedTokenizerFast

from intaglio.bench.models.random_models.chat_pipelines import WIDTH, chat_tokenizer, klein_autoencoder
from intaglio.bench.models.random_models.clip_parts import CHANNELS, drawn_by, shaken

WORDS = 512
"""Tokens of a prompt, padding included."""
TEMPLATE = (
    "<|im_start|>{% for message in messages %}<|im_end|>{{ message.role }} "
    "{% for part in message.content %}{{ part.text }}{% endfor %}{% endfor %}"
)


def mistral_tokenizer() -> PreTrainedTokenizerFast:
    """The tokens of `chat_tokenizer` under a template that writes the first token, which other texts are given."""
    backend: Any = chat_tokenizer().backend_tokenizer
    first = ("<|im_start|>", backend.token_to_id("<|im_start|>"))
    backend.post_processor = TemplateProcessing(single="<|im_start|> $A", special_tokens=[first])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<|endoftext|>",
        bos_token="<|im_start|>",
        model_max_length=WORDS,
        chat_template=TEMPLATE,
    )


def mistral(words: PreTrainedTokenizerFast, layers: int = 30) -> Any:
    """As deep as the third layer that is read, with an eye of one layer."""
    heads = {"num_attention_heads": 2, "head_dim": 8}
    text: dict[str, Any] = {
        "model_type": "mistral",
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": layers,
        "num_key_value_heads": 1,
        "max_position_embeddings": WORDS,
        "sliding_window": None,
        **heads,
    }
    eye = {"model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, **heads}
    eye |= {"image_size": 28, "patch_size": 14}
    return Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=eye)).eval()


def flux2_dev_pipeline(seed: int = 0, **changes):
    """The layout of FLUX.2 dev."""
    with drawn_by(seed):
        words: Any = mistral_tokenizer()
        config: dict[str, Any] = {
            "in_channels": 4 * CHANNELS,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 3 * WIDTH,
            "timestep_guidance_channels": 16,
            "axes_dims_rope": (4, 4, 4, 4),
        }
        return Flux2Pipeline(
            transformer=shaken(Flux2Transformer2DModel(**{**config, **changes})),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
            vae=klein_autoencoder(),
            text_encoder=mistral(words),
            tokenizer=words,
        )
