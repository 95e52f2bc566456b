"""Makers that draw by diffusion: settings of the walks, and networks that denoise pictures told their values."""

from abc import ABC
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.counterfactuals.conditioned_denoiser import ConditionedDenoiser
from intaglio.explain.counterfactuals.family import CounterfactualMaker, LearntPictures, Values
from intaglio.explain.counterfactuals.picture_walks import Pixels, Predicts, denoising_loss, upward, walked


@dataclass(frozen=True, kw_only=True)
class DiffusionMaker(CounterfactualMaker, ABC):
    """A maker whose rest of a picture is the noise that a deterministic walk leads it to."""

    steps: int = 20
    """Steps of DDIM to the noise, and as many back, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 1, f"steps must be at least 1, not {self.steps}")


class WalkedPictures(LearntPictures):
    """Pictures led to noise and back by a denoiser that is told values."""

    def __init__(self, side: int, attributes: int, channels: int, steps: int):
        super().__init__()
        self.denoiser = ConditionedDenoiser(side, attributes, channels)
        self.steps = steps

    def denoising(self, pixels: Pixels, values: Values, source: torch.Generator) -> Float[Tensor, ""]:
        """The loss of the denoiser, at times and of noise that are drawn."""
        times = torch.rand(len(pixels), generator=source).to(pixels.device)
        noise = torch.randn(pixels.shape, generator=source).to(pixels.device)
        return denoising_loss(self._told(values), pixels, times, noise)

    def rest(self, pixels: Pixels, values: Values) -> Pixels:
        """The noise that pictures are led to."""
        return walked(self._told(values), pixels, upward(self.steps))

    def drawn(self, rest: Pixels, values: Values) -> Pixels:
        """Pictures that noise is led to."""
        return walked(self._told(values), rest, upward(self.steps)[::-1]).clamp(-1, 1)

    def _told(self, values: Values) -> Predicts:
        return lambda noised, times: self.denoiser(noised, times, values)
