"""Names of the samplers, free of torch so that command lines can list them."""

from typing import Literal

STOCHASTIC = ("ddpm", "euler_a")
"""Samplers whose steps draw noise."""
SamplerName = Literal["ddim", "euler", "heun", "dpm++2m", "ddpm", "euler_a"]
"""The keys of `intaglio.sampling.samplers.SAMPLERS`."""
