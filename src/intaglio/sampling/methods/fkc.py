"""Feynman-Kac correctors: particles whose weights make guidance sample the distribution that it names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.sampling.calls import Calls, Predict
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.grid import NoiseLevel
from intaglio.sampling.particles import LogWeights, ParticleContext, Particles, ParticleSampling
from intaglio.sampling.step import euler_maruyama


@dataclass(frozen=True, kw_only=True)
class FeynmanKac(ParticleSampling):
    """Feynman-Kac correctors of classifier-free guidance, by weighted particles.

    Guidance by a scale w names the density p(x | prompt)^w p(x)^(1 - w) at every noise level, which its sampler does
    not follow. Particles that move by the guided score in noise over signal ρ do, once they are weighed by

        Δ log weight = ½ w (w - 1) (1 - ρ'² / ρ²) ‖ε(prompt) - ε(negative)‖²

    from ρ to ρ', with noise of one step of Euler and Maruyama, and resampled. With w = 1 all weights are equal. The
    increments of a picture's particles may be centred and clipped, as the authors do with pictures, whose weights would
    else spread too far; that is a bias, and `--clip 0` leaves it out. A step costs 2 K calls of a picture; with fewer
    than some 40 steps pictures keep noise.

    Source: arXiv 2503.02819, the case of classifier-free guidance.
    """

    scale: float = 1.4
    """Guidance scale w, 0 or more, in place of that of the sampling; above 3 the weights of pictures spread too far."""
    clip: float = 1.0
    """Largest change of a log weight in a step, above 0, after the mean of the picture's particles is taken out; 0
    clips nothing, and is exact."""

    own_guidance = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = tuple({"scale": scale, "steps": 40} for scale in (1.4, 2.0, 3.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scale", "clip"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be 0 or more, and finite, not {getattr(self, name)}")

    def init(self, context: ParticleContext) -> Conditioning:
        """The state is the conditioning of one pass: n·K negative rows before n·K positive ones."""
        return Conditioning.cat([context.rows(context.batch.negative), context.rows(context.batch.positive)])

    def advance(
        self, state: Conditioning, x: Particles, now: NoiseLevel, then: NoiseLevel, predict: Predict, noise: Particles
    ) -> tuple[Conditioning, Particles, LogWeights]:
        """One step of Euler and Maruyama with the guided noise, and the corrector's increments."""
        rows = x.flatten(0, 1).float().to(state.hidden.device)
        t = now.batch(2 * len(rows), rows.device)
        negative, positive = predict(torch.cat([rows, rows]), t, state).double().cpu().view(2, *x.shape)
        moved = euler_maruyama(x, negative + self.scale * (positive - negative), now, then, noise)
        square = (positive - negative).flatten(2).square().sum(2)
        gain = 0.5 * self.scale * (self.scale - 1) * (1 - (then.ratio / now.ratio) ** 2) * square
        return state, moved, self._clipped(gain)

    def planned(self, request: SamplingRequest) -> Calls:
        """Two calls of each particle a step."""
        return Calls(forward=request.steps * 2 * self.particles)

    def _clipped(self, gain: Tensor) -> LogWeights:
        if not self.clip:
            return gain
        return (gain - gain.mean(1, keepdim=True)).clamp(-self.clip, self.clip)
