"""Settings of networks from their `config.json`: checked by type, range and size before any network is built."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import CLIPTextConfig

from intaglio.data_files import Fields, is_number, shown
from intaglio.errors import BadInput
from intaglio.models.diffusion.dc_configs import dc_autoencoder_config
from intaglio.models.diffusion.families.known import FAMILIES, NAMES
from intaglio.models.diffusion.gemma_configs import gemma2_config
from intaglio.models.diffusion.hidden_widths import SETTING as HIDDEN_WIDTHS
from intaglio.models.diffusion.long_convolutions import SETTING as LONG_CONVOLUTIONS
from intaglio.models.diffusion.mistral_configs import mistral3_config
from intaglio.models.diffusion.predicted_units import SETTING as PREDICTED_UNITS
from intaglio.models.diffusion.qwen_configs import qwen_autoencoder_config, qwen_text_config
from intaglio.models.diffusion.removed_branches import SETTING as REMOVED_BRANCHES
from intaglio.models.diffusion.setting_ranges import LARGEST_SCALE, check_ranges
from intaglio.models.diffusion.skeletons import CLASSES
from intaglio.models.diffusion.text_cache import SETTING as TEXT_CACHE
from intaglio.models.diffusion.transformer_configs import (
    qwen3_config,
    refuse_more_layers,
    t5_config,
    transformer_config,
    umt5_config,
)
from intaglio.models.diffusion.unknown_settings import unknown_network_settings
from intaglio.models.diffusion.wavelet_gates import SETTING as WAVELET_GATES

WIDEST, LARGEST_SIDE, MOST_WORDS, LONGEST = 2**16, 4096, 2**24, 2**16
"""Largest width of a layer, side of the latents in cells, vocabulary and prompt in tokens that are taken."""
_OLD_SIDE = 64
_OLD_VERSION = re.compile(r"0\.(\d+)\.")
_SUPPORTED = f"give a model of {NAMES}"


def network_config(kind: str, folder: Path, weights: int) -> tuple[Any, list[str]]:
    """The settings of a network of class `kind` in a folder, as `skeleton` takes them, and notes on their reading.

    `weights` is the number of tensors that its files hold: settings that describe more layers are refused, as
    building them could take any time and memory. Raises `BadInput` for another class of network, for quantized
    weights, and for values of a wrong type or out of their range.
    """
    fields = settings_in(folder, "config.json")
    if quantized := fields.values.get("quantization_config"):
        method = quantized.get("quant_method") if isinstance(quantized, Mapping) else None
        said = method or "of an unknown kind"
        raise BadInput(f"{folder} holds quantized weights ({said}); give the model unquantized")
    if CLASSES[kind] != "transformers" and (found := fields.values.get("_class_name")) not in _names_of(kind):
        article = "an" if kind[0] in "AS" else "a"
        if found is None:
            raise BadInput(f"{folder} says no _class_name, where {article} {kind} is due; {_SUPPORTED}")
        said = found if isinstance(found, str) else shown(found)
        raise BadInput(f"{folder} holds a {said}, not {article} {kind}; {_SUPPORTED}")
    if kind == "UNet2DConditionModel":
        config, notes = _denoiser(fields, weights)
    elif kind in ("AutoencoderKL", "AutoencoderKLFlux2"):
        config, notes = _autoencoder(fields, weights), []
    elif kind.startswith("CLIP"):
        fields = _text_fields(folder, fields)
        config, notes = _text_encoder(fields, weights), []
    elif kind == "T5EncoderModel":
        config, notes = t5_config(fields, weights), []
    elif kind.startswith("Qwen3"):
        config, notes = qwen3_config(fields, weights), []
    elif kind == "Mistral3ForConditionalGeneration":
        config, notes = mistral3_config(fields, weights), []
    elif kind == "AutoencoderDC":
        config, notes = dc_autoencoder_config(fields, weights), []
    elif kind == "UMT5EncoderModel":
        config, notes = umt5_config(fields, weights), []
    elif kind == "Gemma2Model":
        config, notes = gemma2_config(fields, weights), []
    elif kind == "AutoencoderKLQwenImage":
        config, notes = qwen_autoencoder_config(fields, weights), []
    elif kind == "Qwen2_5_VLForConditionalGeneration":
        config, notes = qwen_text_config(fields, weights), []
    else:
        config, notes = transformer_config(fields, weights), []
    return config, [*notes, *unknown_network_settings(kind, fields)]


def _names_of(kind: str) -> tuple[str, ...]:
    """The name of a class, and those that it has in older files."""
    return (kind, *(name for family in FAMILIES if family.denoiser == kind for name in family.earlier_denoisers))


def settings_in(folder: Path, name: str) -> Fields:
    """The fields of a component's JSON file. Raises `BadInput` where it is missing or cannot be read."""
    path = folder / name
    if not path.exists():
        raise BadInput(f"{path} is missing; copy the folder again, or export it again")
    return Fields.read(path, constants=True)


def _denoiser(fields: Fields, weights: int) -> tuple[dict[str, Any], list[str]]:
    check_ranges(fields, "denoiser")
    everywhere = fields.values.get("only_cross_attention")
    if not all(
        it is None or isinstance(it, bool) for it in (everywhere if isinstance(everywhere, list) else [everywhere])
    ):
        raise BadInput(
            f"{fields.source} has only_cross_attention {shown(everywhere)}, where true, false or a list is due; "
            f"{fields.remedy}"
        )
    config = dict(fields.values)
    blocks = len(_wholes(fields, "block_out_channels", high=WIDEST))
    layers, depths = _wholes(fields, "layers_per_block"), _wholes(fields, "transformer_layers_per_block", low=0)
    _wholes(fields, "reverse_transformer_layers_per_block", low=0, high=weights)
    refuse_more_layers(fields, max(blocks, max(layers, default=1) * max(1, *depths, 1)), weights)
    for key in ("attention_head_dim", "num_attention_heads", "cross_attention_dim", "norm_num_groups"):
        _wholes(fields, key, high=WIDEST)
    for key in ("in_channels", "out_channels", "addition_time_embed_dim", "projection_class_embeddings_input_dim"):
        fields.whole(key, None, 1, WIDEST)
    for setting, most in ((HIDDEN_WIDTHS, WIDEST), (LONG_CONVOLUTIONS, LARGEST_SIDE)):
        if fields.values.get(setting) is not None:
            sizes = fields.table(setting)
            for scope in sizes.values:
                sizes.whole(scope, low=1, high=most)
    _check_names(fields, REMOVED_BRANCHES)
    _check_names(fields, PREDICTED_UNITS)
    _check_stairs(fields)
    if not isinstance(gated := fields.values.get(WAVELET_GATES), bool | None):
        raise BadInput(
            f"{fields.source} has {WAVELET_GATES} {shown(gated)}, where true or false is due; {fields.remedy}"
        )
    sides = _wholes(fields, "sample_size", high=LARGEST_SIDE)
    if _is_old(fields) and not isinstance(config.get("sample_size"), list) and sides and sides[0] < _OLD_SIDE:
        config["sample_size"] = _OLD_SIDE
        note = (
            f"{fields.source} says sample_size {sides[0]}, an error of diffusers before 0.9; "
            f"{_OLD_SIDE} is used in its place, as diffusers does"
        )
        return config, [note]
    return config, []


def _check_names(fields: Fields, key: str) -> None:
    given = fields.values.get(key)
    if given is not None and not (isinstance(given, list) and all(isinstance(name, str) for name in given)):
        raise BadInput(f"{fields.source} has {key} {shown(given)}, where a list of names is due; {fields.remedy}")


def _check_stairs(fields: Fields) -> None:
    if fields.values.get(TEXT_CACHE) is None:
        return
    stairs = fields.table(TEXT_CACHE)
    for key in ("bits", "lengths"):
        if not isinstance(given := stairs.values.get(key), list) or any(isinstance(one, list) for one in given):
            raise BadInput(f"{stairs.source} has {key} {shown(given)}, where a list is due; {fields.remedy}")
        _wholes(stairs, key, high=LONGEST)


def _is_old(fields: Fields) -> bool:
    """Whether diffusers before 0.9 wrote the settings of a model that is conditioned on text alone."""
    found = _OLD_VERSION.match(str(fields.values.get("_diffusers_version", "")))
    return found is not None and int(found.group(1)) < 9 and fields.values.get("addition_embed_type") is None


def _autoencoder(fields: Fields, weights: int) -> dict[str, Any]:
    blocks = len(_wholes(fields, "block_out_channels", high=WIDEST))
    refuse_more_layers(fields, max(blocks, fields.whole("layers_per_block", 1, 1)), weights)
    for key in ("in_channels", "out_channels", "latent_channels", "norm_num_groups"):
        fields.whole(key, None, 1, WIDEST)
    check_ranges(fields, "autoencoder")
    if "scaling_factor" in fields.values:
        fields.number("scaling_factor")  # null here is no default of the class's
    for key in ("latents_mean", "latents_std"):
        given = fields.numbers(key, [], fields.whole("latent_channels", 4))
        if not all(abs(number) <= LARGEST_SCALE for number in given):
            raise BadInput(f"{fields.source} has {key} beyond {LARGEST_SCALE:g}; {fields.remedy}")
    return dict(fields.values)


def _text_fields(folder: Path, fields: Fields) -> Fields:
    """The settings of the text encoder, which a config of the whole of CLIP holds in a table."""
    kind = fields.text("model_type", "clip_text_model")
    if kind == "clip":
        return fields.table("text_config")
    if kind != "clip_text_model":
        raise BadInput(f"{folder} holds a text encoder of type {kind}, not one of CLIP; {_SUPPORTED}")
    return fields


def _text_encoder(fields: Fields, weights: int) -> CLIPTextConfig:
    refuse_more_layers(fields, fields.whole("num_hidden_layers", 12, 1), weights)
    heads, width = fields.whole("num_attention_heads", 8, 1, WIDEST), fields.whole("hidden_size", 512, 1, WIDEST)
    if width % heads:
        raise BadInput(
            f"{fields.source} has num_attention_heads {heads}, which do not divide hidden_size {width}; {fields.remedy}"
        )
    for key, most in (
        ("intermediate_size", WIDEST),
        ("projection_dim", WIDEST),
        ("vocab_size", MOST_WORDS),
        ("max_position_embeddings", LONGEST),
    ):
        fields.whole(key, None, 1, most)
    check_ranges(fields, "text_encoder")
    fields.text("hidden_act", None)
    if "eos_token_id" in fields.values:
        fields.whole("eos_token_id", high=MOST_WORDS)  # null here is no default of the class's
    return CLIPTextConfig.from_dict(
        {**fields.values, "return_dict": True}
    )  # a setting of the caller's, not the model's


def _wholes(fields: Fields, key: str, *, low: int = 1, high: int = 2**31) -> list[int]:
    """The whole numbers of a setting that is one number or a list of them, nested or not; empty where it is not set."""
    value = fields.values.get(key)
    level = value if isinstance(value, list | tuple) else [] if value is None else [value]
    while any(isinstance(item, list) for item in level):
        level = [inner for item in level for inner in (item if isinstance(item, list) else [item])]
    if not all(is_number(item) and item == int(item) and low <= item <= high for item in level):
        wanted = f"whole numbers from {low} to {high} are due"
        raise BadInput(f"{fields.source} has {key} {shown(value)}, where {wanted}; {fields.remedy}")
    return [int(item) for item in level]
