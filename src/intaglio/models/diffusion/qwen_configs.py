"""Settings of Qwen-Image's autoencoder and text encoder, checked by type, range and size before any is built."""

from typing import Any

from transformers import Qwen2_5_VLConfig

from intaglio.data_files import Fields, is_number, shown
from intaglio.errors import BadInput
from intaglio.models.diffusion.transformer_configs import (
    DEEPEST,
    MOST_WORDS,
    WIDEST,
    refuse_more_layers,
    transformer_config,
)


def qwen_autoencoder_config(fields: Fields, weights: int) -> dict[str, Any]:
    """The settings of an `AutoencoderKLQwenImage`.

    Raises `BadInput` for values of a wrong type or out of their range, and for more layers than weights.
    """
    config = transformer_config(fields, weights)
    widths, channels = fields.values.get("dim_mult", [1, 2, 4, 4]), fields.whole("z_dim", 16, 1, WIDEST)
    if not (isinstance(widths, list) and widths and all(is_number(one) and 1 <= one <= 64 for one in widths)):
        raise BadInput(f"{fields.source} has dim_mult {shown(widths)}, where numbers from 1 to 64 are due")
    halved = fields.values.get("temperal_downsample", [False] * (len(widths) - 1))
    if not (isinstance(halved, list) and all(isinstance(one, bool) for one in halved)) or len(halved) + 1 != len(
        widths
    ):
        raise BadInput(
            f"{fields.source} has temperal_downsample {shown(halved)}, where a truth value is due for each of its "
            f"{len(widths) - 1} halvings; {fields.remedy}"
        )
    refuse_more_layers(fields, max(len(widths), fields.whole("num_res_blocks", 2, 1, DEEPEST)), weights)
    for key in ("base_dim", "input_channels"):
        fields.whole(key, None, 1, WIDEST)
    for key in ("latents_mean", "latents_std"):
        fields.numbers(key, [], channels)
    return config


def qwen_text_config(fields: Fields, weights: int) -> Qwen2_5_VLConfig:
    """The settings of a Qwen2.5-VL, with those of its language model in a table or beside the others.

    Raises `BadInput` for values of a wrong type or out of their range, and for more layers than weights.
    """
    if (kind := fields.text("model_type", "qwen2_5_vl")) != "qwen2_5_vl":
        raise BadInput(f"{fields.source} is of a text encoder of type {kind}, where Qwen2.5-VL is due; {fields.remedy}")
    words = fields.table("text_config") if fields.values.get("text_config") else fields
    layers = words.whole("num_hidden_layers", 80, 1, DEEPEST)
    if fields.values.get("vision_config"):
        layers += fields.table("vision_config").whole("depth", 32, 1, DEEPEST)
    refuse_more_layers(fields, layers, weights)
    for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"):
        words.whole(key, None, 1, WIDEST)
    words.whole("vocab_size", None, 1, MOST_WORDS)
    words.number("rms_norm_eps", None, 0.0, 1.0)
    return Qwen2_5_VLConfig.from_dict({**fields.values, "return_dict": True})
