"""Predictions of all steps of a walk from one pass of a U-Net's encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Real
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.shapes_alone import planned_row, without_memory
from intaglio.models.diffusion.unet_halves import SharedEncoder
from intaglio.sampling.calls import Predict
from intaglio.sampling.grid import timestep_of


class SharedPass:
    """The noise at each step of one walk, by the encoder at its first latents and timestep and a decoder pass a step.

    A decoder does not see the latents of its step, so that the passes can go through the network in one batch, a block
    of rows for each timestep. Where the network predicts no noise, its output is turned into noise by the latents of
    the step all the same, as for any model.
    """

    def __init__(self, model: LatentDiffusion, timesteps: Sequence[int | float], at_once: int | None = None):
        """The walk's timesteps, and the steps whose decoders run in one batch, 1 or more; None: all."""
        self._model, self._timesteps, self._at_once = model, list(timesteps), at_once or len(timesteps)
        self._first: Tensor | None = None
        self._encoder: SharedEncoder | None = None
        self._outputs: dict[int | float, Tensor] = {}

    def noise(
        self,
        latents: Float[Tensor, "n *shape"],
        t: Real[Tensor, "n"],
        given: Conditioning,
        predict: Predict | None = None,
    ) -> Float[Tensor, "n *shape"]:
        """The noise in latents at one of the timesteps; `given` has a row for each, the same at every step.

        The first call must be that of the first timestep. `predict` is the model's own where it is None.
        """
        if self._first is None or self._encoder is None:
            self._first, self._encoder = latents, SharedEncoder(self._model.denoiser, len(latents))
        step = timestep_of(t)
        if step not in self._outputs:
            self._ask(self._first, self._encoder, step, given, predict or self._model.predict)
        # The noise is affine in the latents, and was taken at the first ones.
        shift = self._model.schedule.noise_of(torch.zeros_like(latents), latents - self._first, t)
        return self._outputs[step] + shift

    def _ask(self, x: Tensor, encoder: SharedEncoder, step: int | float, given: Conditioning, predict: Predict) -> None:
        """One call of the network for this timestep and those that follow it, as many as go at once."""
        place = self._timesteps.index(step)
        steps = self._timesteps[place : place + self._at_once]
        t = torch.tensor(steps, device=x.device).repeat_interleave(len(x))
        with encoder.shared():
            found = predict(x.repeat(len(steps), *[1] * (x.ndim - 1)), t, Conditioning.cat([given] * len(steps)))
        self._outputs |= dict(zip(steps, found.split(len(x)), strict=True))


def passes_worth(model: LatentDiffusion, steps: int) -> float:
    """Multiplications of one encoder and `steps` decoder passes, in calls of the whole network."""
    denoiser, (latents, t, inputs) = without_memory(model.denoiser), planned_row(model)
    with torch.no_grad(), FlopCounterMode(display=False) as whole:
        denoiser(latents, t, **inputs, return_dict=False)
    rows = latents.repeat(steps, 1, 1, 1), t.repeat(steps), _repeated(inputs, steps)
    with torch.no_grad(), FlopCounterMode(display=False) as part, SharedEncoder(denoiser, 1).shared():
        denoiser(rows[0], rows[1], **rows[2], return_dict=False)
    return part.get_total_flops() / whole.get_total_flops()


def _repeated(value: Any, steps: int) -> Any:
    """Inputs of one row for so many."""
    if isinstance(value, Mapping):
        return {name: _repeated(one, steps) for name, one in value.items()}
    return value.repeat(steps, *[1] * (value.ndim - 1)) if isinstance(value, Tensor) else value
