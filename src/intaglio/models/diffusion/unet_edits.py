"""Modules of a U-Net that are others than its class has, as its config notes them: applied in one order everywhere."""

from collections.abc import Mapping
from typing import Any

from intaglio.models.diffusion import (
    hidden_widths,
    long_convolutions,
    predicted_units,
    removed_branches,
    text_cache,
    wavelet_gates,
)

SETTINGS = tuple(
    kind.SETTING
    for kind in (hidden_widths, removed_branches, long_convolutions, wavelet_gates, predicted_units, text_cache)
)
"""Entries of a U-Net's config that only this software reads."""


def edit(denoiser: Any, config: Mapping[str, Any]) -> None:
    """Makes a U-Net's modules those that its config notes, in place.

    Raises `ValueError` for names that the U-Net does not have, and for sizes and stairs of bits that it cannot have.
    """
    if config.get(wavelet_gates.SETTING):
        wavelet_gates.gate_resamplers(denoiser)
    removed_branches.remove_branches(denoiser, config.get(removed_branches.SETTING) or ())
    long_convolutions.put_long_convolutions(denoiser, config.get(long_convolutions.SETTING) or {})
    hidden_widths.narrow_to(denoiser, config.get(hidden_widths.SETTING) or {})
    predicted_units.predict_units(denoiser, config.get(predicted_units.SETTING) or ())
    if (stairs := config.get(text_cache.SETTING)) is not None:
        text_cache.cache_text(denoiser, text_cache.stairs_of(stairs))
