"""One spelling for the settings of a network of diffusers, which can say the same in several ways."""

import inspect
from collections.abc import Mapping
from typing import Any

A_BLOCK_EACH = (
    "attention_head_dim",
    "num_attention_heads",
    "only_cross_attention",
    "layers_per_block",
    "cross_attention_dim",
    "transformer_layers_per_block",
    "sample_size",
)
"""Settings that are one value for all blocks (or sides), or a list with a value for each."""


def one_spelling(config: Mapping[str, Any], kind: type | None = None) -> dict[str, Any]:
    """The settings of a config without its private entries, so that equal ones compare as equal.

    Lists become tuples; a list of equal values becomes the value where a value may stand for all; settings that stand
    for a default computed from others get that; with `kind`, the network's class, what is missing, or null where the
    default is not, gets the default of that class.
    """
    defaults = {} if kind is None else class_defaults(kind)
    settings = {key: _as_tuple(value) for key, value in config.items() if not key.startswith("_")}
    settings |= {key: value for key, value in defaults.items() if settings.get(key) is None}
    if "mid_block_only_cross_attention" in settings and settings["mid_block_only_cross_attention"] is None:
        everywhere = settings.get("only_cross_attention")
        settings["mid_block_only_cross_attention"] = everywhere if isinstance(everywhere, bool) else False
    if "time_embedding_dim" in settings and not settings["time_embedding_dim"]:
        settings["time_embedding_dim"] = 4 * settings["block_out_channels"][0]
    return settings | {key: _of_all(settings[key]) for key in A_BLOCK_EACH if key in settings}


def class_defaults(kind: type) -> dict[str, Any]:
    """The default of every setting of a network's class that has one."""
    known = inspect.signature(kind.__init__).parameters
    return {key: _as_tuple(it.default) for key, it in known.items() if it.default is not inspect.Parameter.empty}


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list | tuple) else value


def _of_all(value: Any) -> Any:
    """The value that a tuple, nested or not, repeats; else what was given."""
    if not isinstance(value, tuple) or not value:
        return value
    inner = [_of_all(item) for item in value]
    return inner[0] if all(item == inner[0] for item in inner) else value
