"""Types and ranges of the settings of networks that are one number, or true or false."""

from intaglio.data_files import Fields

LARGEST_SCALE = 1e6
"""Largest factor between latents or features: published ones are near 1, and float32 ends at 3e38."""

NUMBERS: dict[str, dict[str, tuple[float, float]]] = {
    "denoiser": {
        "dropout": (0.0, 1.0),
        "freq_shift": (-1e3, 1e3),
        "norm_eps": (0.0, 1.0),
        "mid_block_scale_factor": (1 / LARGEST_SCALE, LARGEST_SCALE),
        "resnet_out_scale_factor": (1 / LARGEST_SCALE, LARGEST_SCALE),
    },
    "autoencoder": {
        "scaling_factor": (1 / LARGEST_SCALE, LARGEST_SCALE),
        "shift_factor": (-LARGEST_SCALE, LARGEST_SCALE),
    },
    "text_encoder": {"attention_dropout": (0.0, 1.0), "layer_norm_eps": (0.0, 1.0)},
}
"""Smallest and largest value of each setting that is a number, by kind of network."""

WHOLE_NUMBERS: dict[str, dict[str, tuple[int, int]]] = {
    "denoiser": {
        "downsample_padding": (0, 16),
        "conv_in_kernel": (1, 63),
        "conv_out_kernel": (1, 63),
        "addition_embed_type_num_heads": (1, 2**16),
    }
}
"""Smallest and largest value of each setting that is a whole number, further to those of sizes."""

FLAGS: dict[str, tuple[str, ...]] = {
    "denoiser": (
        "center_input_sample",
        "class_embeddings_concat",
        "dual_cross_attention",
        "flip_sin_to_cos",
        "mid_block_only_cross_attention",
        "resnet_skip_time_act",
        "upcast_attention",
        "use_linear_projection",
    ),
    "autoencoder": ("force_upcast", "mid_block_add_attention", "use_post_quant_conv", "use_quant_conv"),
}
"""Settings that are true or false: Python takes any text, "false" too, for true."""


def check_ranges(fields: Fields, kind: str) -> None:
    """Raises `BadInput` for a setting of another type than its own, or out of its range.

    `kind` is denoiser, autoencoder or text_encoder. Settings that are missing or null are left to their class.
    """
    for key, (low, high) in NUMBERS.get(kind, {}).items():
        fields.number(key, None, low, high)
    for key, (least, most) in WHOLE_NUMBERS.get(kind, {}).items():
        fields.whole(key, None, least, most)
    for key in FLAGS.get(kind, ()):
        fields.flag(key, None)
