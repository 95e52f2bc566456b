"""Particle systems: K latents a picture that move side by side, are weighed, and resampled among themselves."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.randomness import generator
from intaglio.sampling.calls import Predict
from intaglio.sampling.family import SamplingMethod
from intaglio.sampling.grid import CLEAN, NoiseLevel
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.resampling import effective_share, log_mean_exp, one_of, systematic
from intaglio.sampling.sampling_batch import SamplingBatch, refuse_non_finite
from intaglio.sampling.start import latent_shape

Particles = Float[Tensor, "n k c h w"]
LogWeights = Float[Tensor, "n k"]


@dataclass(frozen=True, eq=False)
class ParticleTrace:
    """Record of a batch's particles, a row each step."""

    effective_share: Float[Tensor, "steps n"]
    """(Σw)² / (K Σw²) of each picture's weights after the step, before any resampling; in [1/K, 1]."""
    ancestors: Float[Tensor, "steps n"]
    """Distinct ancestors among the K slots after the step; K where nothing was resampled."""
    log_normaliser: Float[Tensor, "n"]
    """Estimate of the logarithm of the ratio of the targets' normalising constants, end over start."""


@dataclass(frozen=True)
class ParticleContext:
    """A batch for a particle system: conditioning is repeated K times, the particles of a picture side by side."""

    batch: GuideContext
    count: int
    """K, particles of a picture."""

    def rows(self, given: Any) -> Any:
        """Rows of n pictures as n·K rows of particles."""
        return given[[row for row in range(len(self.batch.prompts)) for _ in range(self.count)]]


@dataclass(frozen=True, kw_only=True)
class ParticleSampling(SamplingMethod, ABC):
    """A method of weighted particles.

    Each picture has K slots; slot k of a picture draws its noise from a source of its own, (seed, "slot", k), which
    stays with the slot when its particle is replaced, so that a picture is the same in any batch. Slot 0 has the
    picture's plain noise. Weights are resampled within one picture alone.
    """

    particles: int = 8
    """Particles K of a picture, 1 or more."""
    resample_below: float = 0.5
    """Effective share of the particles, in [0, 1], below which they are resampled; 1 resamples at each step."""

    own_sampler = True
    draws_noise = True

    def __post_init__(self) -> None:
        if not 1 <= self.particles <= 4096:
            raise ValueError(f"particles must be 1 to 4096, not {self.particles}")
        if not 0 <= self.resample_below <= 1:
            raise ValueError(f"resample_below must be in [0, 1], not {self.resample_below}")

    @abstractmethod
    def init(self, context: ParticleContext) -> Any:
        """The state before the first step."""

    @abstractmethod
    def advance(
        self, state: Any, x: Particles, now: NoiseLevel, then: NoiseLevel, predict: Predict, noise: Particles
    ) -> tuple[Any, Particles, LogWeights]:
        """The next state, the particles at the level `then`, and the increments of their log weights.

        `x` and `noise`, which is fresh unit noise, are float64 on the CPU.
        """

    def choose(self, log_w: LogWeights, u: Float[Tensor, "n"]) -> Int[Tensor, "n k"]:
        """Ancestors of the slots, by the weights and a uniform number a picture: systematic resampling."""
        return systematic(log_w, u)

    def pick(self, log_w: LogWeights, u: Float[Tensor, "n"]) -> Int[Tensor, "n"]:
        """The particle that is the picture: one drawn by its weight, since the heaviest would bias the law."""
        return one_of(log_w, u)

    def follow(self, state: Any, ancestors: Int[Tensor, "n k"]) -> Any:
        """The state after the particles were replaced by those of these slots."""
        return state

    def trace(self, state: Any, particles: ParticleTrace, picked: Int[Tensor, "n"]) -> Any:
        """The record of the batch, by the last state and the picked slots."""
        return particles

    def latents(self, batch: SamplingBatch) -> Float[Tensor, "n c h w"]:
        """By `sample_particles`."""
        return sample_particles(batch, self)

    def reading_of(self, traces: Sequence[ParticleTrace]) -> str:
        """Effective and distinct particles, over pictures and steps."""
        share = torch.cat([trace.effective_share.flatten() for trace in traces])
        fewest = min(float(trace.ancestors.min()) for trace in traces)
        return (
            f"of {self.particles} particles {self.particles * float(share.mean()):.1f} were effective on average, "
            f"{self.particles * float(share.min()):.1f} at least; a resampling left {fewest:.0f} apart at least"
        )


def sample_particles(batch: SamplingBatch, system: ParticleSampling) -> Float[Tensor, "n c h w"]:
    """The picked particle of each picture, clean; NaN for a picture that failed and is spared."""
    n, count, shape = len(batch.seeds), system.particles, latent_shape(batch.context)
    slots = [_slot(seed, k) for seed in batch.seeds for k in range(count)]
    uniforms = [generator(seed, "resample") for seed in batch.seeds]
    rows = [row for row in batch.rows for _ in range(count)]
    x = batch.start(batch.context, batch.grid[0], rows, slots).unflatten(0, (n, count))
    state = system.init(ParticleContext(batch.context, count))
    log_w, total = torch.zeros(n, count, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    failed = torch.zeros(n, dtype=torch.bool)
    shares, distinct = list[Tensor](), list[Tensor]()
    for now, then in zip(batch.grid, batch.grid[1:], strict=False):
        noise = torch.stack([torch.randn(shape, generator=slot, dtype=torch.float32) for slot in slots])
        state, x, gain = system.advance(state, x, now, then, batch.predict, noise.double().unflatten(0, (n, count)))
        failed |= _failures(batch, x, gain, now)
        x, log_w = x.nan_to_num(0.0, 0.0, 0.0), log_w + gain.masked_fill(failed[:, None], 0.0)
        u = _uniform(uniforms)
        share = effective_share(log_w)
        due = (share < system.resample_below) | (system.resample_below == 1)
        due &= then is not CLEAN
        ancestors = torch.where(due[:, None], system.choose(log_w, u), torch.arange(count).expand(n, count))
        total += torch.where(due, log_mean_exp(log_w), 0.0)
        log_w = torch.where(due[:, None], 0.0, log_w)
        x, state = of_slots(x, ancestors), system.follow(state, ancestors)
        shares.append(share)
        distinct.append(torch.tensor([len(row.unique()) for row in ancestors], dtype=torch.float64))
        batch.progress.advance(n)
    picked = system.pick(log_w, _uniform(uniforms))
    particles = ParticleTrace(torch.stack(shares), torch.stack(distinct), total + log_mean_exp(log_w))
    batch.told(system.trace(state, particles, picked))
    return (
        x[torch.arange(n), picked]
        .masked_fill(failed.view(-1, 1, 1, 1), torch.nan)
        .float()
        .to(batch.context.model.device)
    )


def of_slots(values: Float[Tensor, "n k *shape"], slots: Int[Tensor, "n m"]) -> Float[Tensor, "n m *shape"]:
    """The values of these slots, each picture's its own."""
    return values[torch.arange(len(values))[:, None], slots]


def _slot(seed: int, k: int) -> torch.Generator:
    """The source of noise of a slot; the first is the picture's own."""
    return torch.Generator().manual_seed(seed) if k == 0 else generator(seed, "slot", k)


def _uniform(sources: Sequence[torch.Generator]) -> Float[Tensor, "n"]:
    return torch.stack([torch.rand((), generator=source, dtype=torch.float64) for source in sources])


def _failures(batch: SamplingBatch, x: Tensor, gain: Tensor, level: NoiseLevel) -> Tensor:
    """Pictures of which a particle, or its weight, is NaN or infinite upwards; raises where none is spared."""
    bad = ~x.isfinite().flatten(1).all(1) | gain.isnan().any(1) | (gain == torch.inf).any(1)
    if bad.any() and not batch.spare_failed:
        refuse_non_finite(int(bad.nonzero()[0]), batch, level)
    return bad
