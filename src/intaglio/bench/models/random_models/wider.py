"""Changes that make the random denoisers a few million weights large, so that their sums take the time."""

from typing import Any

_HEADS: dict[str, Any] = {"num_attention_heads": 4, "attention_head_dim": 64}
_TURNED: dict[str, Any] = {**_HEADS, "axes_dims_rope": (16, 24, 24)}
_UNET: dict[str, Any] = {
    "unet_changes": {"block_out_channels": (64, 128), "norm_num_groups": 16},
    "schedule": {"timestep_spacing": "trailing", "set_alpha_to_one": True},  # the timesteps that are taken here
}
WIDER: dict[str, dict[str, Any]] = {
    "sd1": _UNET,
    "sdxl": _UNET,
    "sd3": {**_HEADS, "num_layers": 4, "caption_projection_dim": 256},
    "flux1-dev": {**_TURNED, "num_layers": 2, "num_single_layers": 2},
    "zimage": {"dim": 256, "n_layers": 3, "n_heads": 4, "n_kv_heads": 4, "axes_dims": [16, 24, 24]},
    "klein": {**_HEADS, "axes_dims_rope": (16, 16, 16, 16), "num_layers": 2, "num_single_layers": 2},
    "chroma": {**_TURNED, "num_layers": 2, "num_single_layers": 2},
    "qwen-image": {**_TURNED, "num_layers": 3},
    "pixart-sigma": {**_HEADS, "cross_attention_dim": 256, "num_layers": 4},
    "lumina2": {
        "hidden_size": 256,
        "num_layers": 3,
        "num_attention_heads": 4,
        "num_kv_heads": 2,
        "axes_dim_rope": (16, 24, 24),
    },
    "auraflow": {**_HEADS, "caption_projection_dim": 256, "num_mmdit_layers": 2, "num_single_dit_layers": 2},
    "sana": {
        **_HEADS,
        "num_cross_attention_heads": 4,
        "cross_attention_head_dim": 64,
        "cross_attention_dim": 256,
        "num_layers": 3,
    },
    "flux2-dev": {**_HEADS, "axes_dims_rope": (16, 16, 16, 16), "num_layers": 2, "num_single_layers": 2},
}
"""By kind of `PIPELINES`, one kind a family."""
