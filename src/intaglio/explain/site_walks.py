"""Activations at a site of a denoiser along walks of a sampler, and walks with these shifted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.module_edits import ModuleEdit, module_at
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.sampling.grid import timestep_grid
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.guides.edit_guide import EditGuide
from intaglio.sampling.loop import latent_batches, sample_batches

LATENTS = "latents"
"""The site that is no module: the clean latents that the prompt's noise speaks for."""


@dataclass(frozen=True)
class Walk:
    """The way that pictures are drawn."""

    site: str
    """A module of the denoiser, or `LATENTS`."""
    steps: int
    """Steps of DDIM."""
    guidance: float
    """Scale of guidance."""

    def timesteps(self, model: LatentDiffusion) -> list[int | float]:
        """From the noisiest on, one a step."""
        return [level.t for level in timestep_grid(model.schedule, self.steps)[:-1]]

    def check(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a module or a number of steps that the model has not."""
        if self.site != LATENTS:
            module_at(model.denoiser, self.site)
        self.timesteps(model)


@dataclass(frozen=True, eq=False)
class SiteWalks:
    """Activations of the site at each step of n drawings, in the rows of the prompts; float32 on the CPU."""

    values: Float[Tensor, "n s *shape"]
    latents: Float[Tensor, "n c hl wl"]
    """Clean ones, at the end."""

    def __getitem__(self, rows: slice | Tensor) -> "SiteWalks":
        return SiteWalks(self.values[rows], self.latents[rows])

    def __len__(self) -> int:
        return len(self.values)


def recorded_walks(
    model: LatentDiffusion, prompts: Sequence[str], seeds: Sequence[int], walk: Walk, *, batch: int, run: Run
) -> SiteWalks:
    """The walks of n pictures, which are kept with the run batch by batch; the model is left as it was found.

    Raises `BadInput` as `Walk.check` and the sampler do.
    """
    walk.check(model)
    key = digest([model.fingerprint, list(prompts), list(seeds), walk.site, walk.steps, walk.guidance, batch])
    firsts = range(0, len(prompts), batch)
    found = {first: part for first in firsts if (part := _stored(run, first, key)) is not None}
    with run.progress(len(firsts), "walks", len(found)) as progress:
        for first in firsts:
            if first not in found:
                rows = slice(first, first + batch)
                found[first] = _recorded(model, prompts[rows], seeds[rows], walk)
                tensors = {"values": found[first].values, "latents": found[first].latents}
                run.save_state(_state(first), tensors, {"key": key})
                progress.advance()
    parts = [found[first] for first in firsts]
    return SiteWalks(torch.cat([one.values for one in parts]), torch.cat([one.latents for one in parts]))


def forget_walks(run: Run, count: int) -> None:
    """Drops the stored walks of so many pictures."""
    for first in range(count):
        run.drop_state(_state(first))


def _state(first: int) -> str:
    return f"walks-{first}"


def _stored(run: Run, first: int, key: str) -> SiteWalks | None:
    read = run.load_state(_state(first))
    if read is None or read[1].get("key") != key:
        return None
    return SiteWalks(read[0]["values"], read[0]["latents"])


def _recorded(model: LatentDiffusion, prompts: Sequence[str], seeds: Sequence[int], walk: Walk) -> SiteWalks:
    seen: list[Tensor] = []

    def note(value: Tensor, t: int | float) -> Tensor:
        seen.append(value.detach().float().cpu().clone())
        return value

    guide = _guide(walk, note)
    (latents,) = latent_batches(model, prompts, seeds, guide=guide, batch=len(prompts), **_options(walk))
    if len(seen) != walk.steps:
        raise BadInput(
            f"{walk.site} is called {len(seen)} times in {walk.steps} steps, and a site must be called once a step; "
            "name another --site"
        )
    return SiteWalks(torch.stack(seen, 1), latents.cpu())


def shifted_pictures(
    model: LatentDiffusion,
    prompts: Sequence[str],
    seeds: Sequence[int],
    walk: Walk,
    shifts: Float[Tensor, "n s *shape"] | None,
) -> Float[Tensor, "n 3 h w"]:
    """Pictures, drawn in one batch, whose site is shifted at each step in the rows of the prompts; on the CPU.

    `shifts` of zeros, or None, leave every bit of a picture as plain sampling draws it.
    """
    place = {t: k for k, t in enumerate(walk.timesteps(model))}

    def moved(value: Tensor, t: int | float) -> Tensor:
        if shifts is None:
            return value
        if shifts.shape[2:] != value.shape[1:]:
            shapes = f"{tuple(shifts.shape[2:])}, and {walk.site} gives {tuple(value.shape[1:])}"
            raise BadInput(f"the directions are of shape {shapes}; find directions of this model")
        return value + shifts[:, place[t]].to(value)

    guide = _guide(walk, moved)
    (pixels,) = sample_batches(model, prompts, seeds, guide=guide, batch=len(prompts), **_options(walk))
    return pixels


def noised_walks(model: LatentDiffusion, prompt: str, seed: int, walk: Walk) -> Float[Tensor, "s c hl wl"]:
    """Noised latents of one picture's own walk, before each step; on the CPU."""
    seen: list[Tensor] = []
    guide = _NotingGuide(ClassifierFree(walk.guidance), seen)
    list(latent_batches(model, [prompt], [seed], guide=guide, batch=1, **_options(walk)))
    return torch.cat(seen)


@dataclass(frozen=True, eq=False)
class _NotingGuide:
    """A guide that keeps the latents that it is asked about."""

    guide: ClassifierFree
    seen: list[Tensor]

    def init(self, context: GuideContext) -> Conditioning:
        return self.guide.init(context)

    def step(
        self, state: Conditioning, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Conditioning, Float[Tensor, "n *shape"]]:
        self.seen.append(latents.detach().cpu().clone())
        return self.guide.step(state, latents, t, predict)


def _guide(walk: Walk, change: Callable[[Tensor, int | float], Tensor]) -> EditGuide:
    if walk.site == LATENTS:
        return EditGuide(walk.guidance, change_clean=change)
    return EditGuide(walk.guidance, (ModuleEdit(walk.site, change),))


def _options(walk: Walk) -> dict[str, Any]:
    return {"sampler": "ddim", "steps": walk.steps, "guidance_scale": walk.guidance, "negative": ""}
