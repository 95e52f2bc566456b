"""Settings of SANA's autoencoder, checked by type, range and size before it is built."""

from typing import Any

from intaglio.data_files import Fields, is_number, shown
from intaglio.errors import BadInput
from intaglio.models.diffusion.setting_ranges import LARGEST_SCALE
from intaglio.models.diffusion.transformer_configs import DEEPEST, WIDEST, refuse_more_layers, transformer_config


def dc_autoencoder_config(fields: Fields, weights: int) -> dict[str, Any]:
    """The settings of an `AutoencoderDC`.

    Raises `BadInput` for values of a wrong type or out of their range, and for more layers than weights.
    """
    config = transformer_config(fields, weights)
    for key in ("in_channels", "latent_channels", "attention_head_dim"):
        fields.whole(key, None, 1, WIDEST)
    fields.number("scaling_factor", 1.0, 0.0, LARGEST_SCALE)
    levels, layers = set[int](), 0
    for half in ("encoder", "decoder"):
        for key, least, most in (("block_out_channels", 1, WIDEST), ("layers_per_block", 0, DEEPEST)):
            found = _numbers(fields, f"{half}_{key}", least, most)
            levels.add(len(found))
            layers += sum(found) if key == "layers_per_block" else 0
    if len(levels) > 1:
        raise BadInput(f"{fields.source} has widths and depths of different numbers of levels; {fields.remedy}")
    refuse_more_layers(fields, max(*levels, layers), weights)
    return config


def _numbers(fields: Fields, key: str, least: int, most: int) -> list[int]:
    """A list of whole numbers, one a level. Raises `BadInput` for anything else."""
    given = fields.values.get(key, [2 - least] * 6)
    if (
        not isinstance(given, list)
        or not given
        or not all(is_number(one) and one == int(one) and least <= one <= most for one in given)
    ):
        wanted = f"whole numbers from {least} to {most} are due"
        raise BadInput(f"{fields.source} has {key} {shown(given)}, where {wanted}; {fields.remedy}")
    return [int(one) for one in given]
