"""Settings of transformer denoisers, T5 and Qwen 3, checked by type, range and size before a network is built."""

from collections.abc import Mapping
from typing import Any

from transformers import Qwen3Config, T5Config, UMT5Config

from intaglio.data_files import Fields, is_number, shown
from intaglio.errors import BadInput

WIDEST, LARGEST_SIDE, MOST_WORDS, DEEPEST = 2**16, 4096, 2**24, 2**10
"""Largest width of a layer, side of latents in cells, vocabulary, and number of layers that are taken."""
_LAYERS = (
    "num_layers",
    "num_single_layers",
    "num_refiner_layers",
    "n_layers",
    "n_refiner_layers",
    "approximator_layers",
)
_WIDTHS = ("in_channels", "out_channels", "attention_head_dim", "num_attention_heads", "joint_attention_dim")
_WIDTHS = (*_WIDTHS, "dim", "n_heads", "n_kv_heads", "cap_feat_dim", "timestep_guidance_channels")
_WIDTHS = (*_WIDTHS, "hidden_size", "num_kv_heads", "multiple_of", "caption_projection_dim")
_WIDTHS = (*_WIDTHS, "num_cross_attention_heads", "cross_attention_head_dim", "cross_attention_dim")
_WIDTHS = (*_WIDTHS, "approximator_num_channels", "approximator_hidden_dim", "caption_channels")
_LAYERS_OF_AURAFLOW = ("num_mmdit_layers", "num_single_dit_layers")


def transformer_config(fields: Fields, weights: int) -> dict[str, Any]:
    """The settings of a transformer denoiser: numbers, lists of numbers, truth values and names.

    Raises `BadInput` for other values, for numbers below -1e6 or above 65,536, and for more layers than weights.
    """
    layers = sum(fields.whole(key, 0, 0, DEEPEST) or 0 for key in (*_LAYERS, *_LAYERS_OF_AURAFLOW))
    refuse_more_layers(fields, layers, weights)
    for key, value in fields.values.items():
        if not key.startswith("_") and not _is_setting(value):
            raise BadInput(f"{fields.source} has {key} {shown(value)}, which is no setting; {fields.remedy}")
    fields.whole("caption_channels", None, 1, WIDEST)
    fields.whole("sample_size", None, 1, LARGEST_SIDE)
    fields.whole("patch_size", None, 1, 64)
    fields.whole("pos_embed_max_size", None, 1, LARGEST_SIDE**2)
    fields.number("timestep_scale", None, 1e-6, float(WIDEST))
    for key in _WIDTHS:
        if not isinstance(fields.values.get(key), list):
            fields.whole(key, None, 1, WIDEST)
    return dict(fields.values)


def t5_config(fields: Fields, weights: int) -> T5Config:
    """The settings of a T5 text encoder.

    Raises `BadInput` for values of a wrong type or out of their range, and for more layers than weights.
    """
    _check_t5(fields, weights, "T5")
    return T5Config.from_dict({**fields.values, "return_dict": True})


def umt5_config(fields: Fields, weights: int) -> UMT5Config:
    """The settings of a UMT5 text encoder, which are those of T5; errors as of `t5_config`."""
    _check_t5(fields, weights, "UMT5")
    return UMT5Config.from_dict({**fields.values, "return_dict": True})


def _check_t5(fields: Fields, weights: int, name: str) -> None:
    if (kind := fields.text("model_type", name.lower())) != name.lower():
        raise BadInput(f"{fields.source} is of a text encoder of type {kind}, where {name} is due; {fields.remedy}")
    refuse_more_layers(fields, fields.whole("num_layers", 6, 1), weights)
    for key, most in (("d_model", WIDEST), ("d_kv", WIDEST), ("d_ff", WIDEST), ("num_heads", WIDEST)):
        fields.whole(key, None, 1, most)
    fields.whole("vocab_size", None, 1, MOST_WORDS)
    fields.whole("relative_attention_num_buckets", None, 1, WIDEST)
    fields.whole("relative_attention_max_distance", None, 1, WIDEST)
    fields.number("layer_norm_epsilon", None, 0.0, 1.0)
    fields.number("dropout_rate", None, 0.0, 1.0)
    fields.text("feed_forward_proj", None)


def qwen3_config(fields: Fields, weights: int) -> Qwen3Config:
    """The settings of a text encoder that is the language model Qwen 3.

    Raises `BadInput` for values of a wrong type or out of their range, and for more layers than weights.
    """
    if (kind := fields.text("model_type", "qwen3")) != "qwen3":
        raise BadInput(f"{fields.source} is of a text encoder of type {kind}, where Qwen 3 is due; {fields.remedy}")
    refuse_more_layers(fields, fields.whole("num_hidden_layers", 32, 1), weights)
    for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim"):
        fields.whole(key, None, 1, WIDEST)
    fields.whole("vocab_size", None, 1, MOST_WORDS)
    fields.whole("max_position_embeddings", None, 1, MOST_WORDS)
    fields.number("rms_norm_eps", None, 0.0, 1.0)
    fields.number("attention_dropout", None, 0.0, 1.0)
    fields.text("hidden_act", None)
    for key in ("tie_word_embeddings", "attention_bias", "use_sliding_window"):
        fields.flag(key, None)
    return Qwen3Config.from_dict({**fields.values, "return_dict": True})


def refuse_more_layers(fields: Fields, layers: int, weights: int) -> None:
    """Raises `BadInput` for settings that describe more layers than there are weights: building takes any time."""
    if layers > weights:
        raise BadInput(
            f"{fields.source} describes {layers} layers, where the files beside it hold {weights} weights; "
            "give the config.json that belongs to them"
        )


def _is_setting(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_setting, value))
    if isinstance(value, Mapping):
        return False
    return value is None or isinstance(value, bool | str) or (is_number(value) and -1e6 <= value <= WIDEST)
