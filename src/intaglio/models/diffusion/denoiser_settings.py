"""Settings of a transformer denoiser that make no network, or another one than its weights are of."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from intaglio.errors import BadInput
from intaglio.models.diffusion.config_spelling import class_defaults
from intaglio.models.diffusion.families.known import family_of_class
from intaglio.models.diffusion.skeletons import network_class
from intaglio.models.diffusion.support import CONFIG_REMEDY

UNUSED_OF_DENOISERS = re.compile(r"(^|\.)(norm_final\.weight|pos_embed\.pos_embed|y_embedding)$")
"""Weights that some files of transformer denoisers hold and no network takes, or that follow from the settings."""


def left_over(source: str, keys: Sequence[str]) -> BadInput:
    """The error for weights that the network of these settings does not take."""
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return BadInput(
        f"{source} holds weights that the network of its settings does not take ({', '.join(keys[:3])}{more}); its "
        "config.json may lack a setting, such as qk_norm: give the one that belongs to the weights"
    )


def check_settings(kind: str, source: object, config: Mapping[str, Any]) -> None:
    """Raises `BadInput` for settings that no denoiser of a class can have; missing ones are those of the class."""
    family = family_of_class(kind)
    if family is None or kind == "UNet2DConditionModel":
        return
    whole = {**class_defaults(network_class(kind)), **{key: one for key, one in config.items() if one is not None}}
    if reason := next(family.setting_reasons(whole), None):
        raise BadInput(f"{source} cannot be used: {reason}; {CONFIG_REMEDY}")
