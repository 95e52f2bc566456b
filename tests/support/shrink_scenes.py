"""Calibration rows, and what a layer gives for inputs, for the tests of ways to make a model smaller."""

import pytest
import torch

import tiny
from intaglio.models.packing import int8_kernels
from intaglio.shrink.calibration_states import CalibrationStates

exact_integers = pytest.mark.skipif(
    not int8_kernels._exact(), reason="this processor has no exact products of 8-bit integers (VNNI)"
)
"""Of tests that compute with codes; elsewhere such models are refused, which a test of its own holds."""


def planted_rows(count: int = 32, seed: int = 3, shape: tuple[int, ...] = (tiny.CHANNELS, 8, 8)) -> CalibrationStates:
    """Rows of unit noise for the tiny models under two prompts, of sixteen walks."""
    source = torch.Generator().manual_seed(seed)
    latents = torch.randn(count, *shape, generator=source)
    t = torch.randint(1000, (count,), generator=source)
    places = torch.arange(count) % 2
    return CalibrationStates(latents, t, ("red cat", "dog"), places, torch.arange(count) % 16, "planted rows")


def correlated(rows: int = 400, columns: int = 24, rho: float = 0.9, seed: int = 0) -> torch.Tensor:
    """Inputs whose neighbours are correlated by `rho`, of unit variance."""
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=source)
    for k in range(1, columns):
        x[:, k] = rho * x[:, k - 1] + (1 - rho**2) ** 0.5 * x[:, k]
    return x
