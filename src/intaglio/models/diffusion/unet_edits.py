"""Modules of a U-Net that are others than its class has, as its config notes them: applied in one order everywhere."""

from collections.abc import Mapping
from typing import Any

from intaglio.models.diffusion import hidden_widths, long_convolutions, removed_branches, wavelet_gates

SETTINGS = (hidden_widths.SETTING, removed_branches.SETTING, long_convolutions.SETTING, wavelet_gates.SETTING)
"""Entries of a U-Net's config that only this software reads."""


def edit(denoiser: Any, config: Mapping[str, Any]) -> None:
    """Makes a U-Net's modules those that its config notes, in place.

    Raises `ValueError` for names that the U-Net does not have, and sizes that it cannot have.
    """
    if config.get(wavelet_gates.SETTING):
        wavelet_gates.gate_resamplers(denoiser)
    removed_branches.remove_branches(denoiser, config.get(removed_branches.SETTING) or ())
    long_convolutions.put_long_convolutions(denoiser, config.get(long_convolutions.SETTING) or {})
    hidden_widths.narrow_to(denoiser, config.get(hidden_widths.SETTING) or {})
