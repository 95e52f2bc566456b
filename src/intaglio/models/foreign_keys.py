"""Keys of weights that belong to no plain network: adapters, other architectures, quantized weights."""

import re
from collections.abc import Iterable

_MARKS = (
    (r"lora_magnitude_vector|dora_scale", "a DoRA adapter"),
    (r"hada_w|lokr_w", "a LyCORIS adapter (LoHa or LoKr)"),
    (r"\boft_|\.oft_[rRw]|oft_blocks|\.boft_", "an OFT adapter"),
    (
        r"_ip(?:\.0)?\.weight$|^ip_adapter\.|^image_proj(?:_model)?\.|\.image_proj\.",
        "an image-prompt adapter (IP-Adapter)",
    ),
    (r"lora", "a LoRA"),
    (r"\.base_layer\.", "an adapter of PEFT"),
    (r"motion_modules", "an AnimateDiff motion module"),
    (r"controlnet_|control_model\.", "a ControlNet"),
    (r"\.fuser\.|^position_net\.", "a layout adapter (GLIGEN)"),
)
_QUANTIZED = re.compile(
    r"\.(?:absmax|quant_map|quant_state\..*|scale_weight|weight_scale|scale_input|SCB|qweight|qzeros)$|scaled_fp8$"
)


def adapter_in(keys: Iterable[str]) -> str | None:
    """The first kind of adapter, in words, that a key shows; None for weights of plain networks."""
    keys = list(keys)
    return next((what for mark, what in _MARKS if any(re.search(mark, key) for key in keys)), None)


def adapter_key(keys: Iterable[str]) -> str | None:
    """The first key that belongs to an adapter; None where none does."""
    return next((key for key in keys if adapter_in([key])), None)


def quantized_key(keys: Iterable[str]) -> str | None:
    """The first key that only quantized weights have; None where there is none."""
    return next((key for key in keys if _QUANTIZED.search(key)), None)
