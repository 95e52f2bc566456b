"""Latents along a model's own walks from noise to pictures, at every noise level that they pass."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps, stored_steps
from intaglio.sampling.fixed_sampling import sampling_grid
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.loop import latent_batches

STATE = "trajectories"
AT_ONCE = 8
"""Walks at a time."""


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Walks under guidance, each of one prompt."""

    latents: Float[Tensor, "n nodes c h w"]
    """Before each step, from unit noise on; on the CPU."""
    times: Real[Tensor, "nodes"]
    """Timesteps of these."""
    prompts: tuple[str, ...]
    """Of each walk."""

    def at(self, walks: Sequence[int], nodes: Int[Tensor, "b"]) -> tuple[Tensor, Tensor]:
        """Latents [b, c, h, w] and timesteps [b] of some walks, each at one node."""
        return self.latents[list(walks), nodes], self.times[nodes]


@dataclass(frozen=True, eq=False)
class _Walked(StepState):
    """The walks of the batches so far."""

    latents: Float[Tensor, "n nodes c h w"]


@dataclass(eq=False)
class _Watched:
    """Classifier-free guidance that keeps the latents that it is asked at."""

    guide: ClassifierFree
    passed: list[Tensor] = field(default_factory=list)

    def init(self, context: GuideContext) -> Conditioning:
        return self.guide.init(context)

    def step(
        self, state: Conditioning, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Conditioning, Float[Tensor, "n *shape"]]:
        self.passed.append(latents.float().cpu().clone())
        return self.guide.step(state, latents, t, predict)


def trajectories(
    model: LatentDiffusion, prompts: Sequence[str], each: int, *, steps: int, scale: float, seed: int, run: Run
) -> Trajectories:
    """Walks of DDIM from unit noise, `each` for every prompt.

    Args:
        model: left as it was found.
        prompts: one or more.
        each: walks a prompt, from 1.
        steps: of DDIM, which is the number of nodes.
        scale: guidance scale, 1 for none.
        seed: of all.
        run: keeps the walks that are made.
    """
    every = [prompt for prompt in prompts for _ in range(each)]
    cuts = [range(first, min(first + AT_ONCE, len(every))) for first in range(0, len(every), AT_ONCE)]
    options: dict[str, Any] = {"sampler": "ddim", "steps": steps, "guidance_scale": scale, "negative": ""}

    def walk(state: _Walked) -> _Walked:
        rows, watched = cuts[state.step], _Watched(ClassifierFree(scale))
        seeds = [seed_32bit(seed, "trajectory", k) for k in rows]
        list(latent_batches(model, [every[k] for k in rows], seeds, guide=watched, batch=AT_ONCE, **options))
        return replace(state, step=state.step + 1, latents=torch.cat([state.latents, torch.stack(watched.passed, 1)]))

    side = model.resolution // model.factor
    begun = _Walked(0, torch.zeros(0, steps, model.latent_channels, side, side))
    match = {"walks": len(every), "nodes": steps}
    with run.progress(len(cuts), "drawing", stored_steps(run, STATE, match)) as progress:
        done = in_steps(run, STATE, match, begun, walk, steps=len(cuts), noted=lambda before, after: progress.advance())
    times = torch.tensor([level.t for level in sampling_grid(model, steps)[:-1]])
    return Trajectories(done.latents, times, tuple(every))
