"""The gap of denoising losses: the cheap baseline that every other audit must beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from intaglio.audit.membership.family import Authentication, Authenticator, check_inputs, check_timesteps
from intaglio.audit.membership.resume import one_by_one, work_key
from intaglio.denoising.contrast import Contrast, Precision
from intaglio.denoising.samples import fixed_samples
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run


@dataclass(frozen=True)
class LossGap(Authenticator):
    """By how much better the suspect denoises the untouched picture than the base does.

    The score is the mean over fixed pairs (t, eps) of l_base(z0; t, eps) - l_suspect(z0; t, eps), where l is a model's
    mean squared denoising error in its own target and z0 the picture's latent. The pairs are the same for both models
    and for all pictures, with one timestep from each of `levels` equal bins and `noises` draws of noise for each; no
    gradient is taken. A picture that was trained on is denoised better by the suspect.

    A loss threshold with the base as the reference, after arXiv 1709.01604 and 2111.08440; for diffusion models, see
    the naive attack in arXiv 2302.01316.
    """

    signals: ClassVar[tuple[str, ...]] = ("suspect", "base", "relative")

    levels: int = 20
    """Timesteps, one from each of as many equal bins; from 1."""
    noises: int = 2
    """Draws of noise a timestep; from 1."""
    timesteps: tuple[int, int] = (1, 999)
    """First and last timestep that may be drawn."""
    relative: bool = False
    """Divide the gap by the base's error, so that busy pictures do not outweigh plain ones."""
    precision: Precision = "float32"
    """Arithmetic inside the networks; the halves by autocast."""
    micro_batch: int = 64
    """Pictures times samples in one call of a network; lower it when memory is short, the result stays."""
    seed: int = 0
    """Fixes timesteps and noise."""

    def __post_init__(self):
        for name in ("levels", "noises", "micro_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.timesteps[0] <= self.timesteps[1]:
            raise ValueError(f"timesteps must be two rising numbers from 0, not {self.timesteps}")

    def __call__(
        self, suspect: LatentDiffusion, base: LatentDiffusion, images: ImageSet, *, prompt: str, run: Run = Run.none()
    ) -> Authentication:
        """Scores every picture; see `Authenticator`.

        Signals: `suspect` and `base`, the errors of each model alone, negated; `relative`, the gap over the base's.
        """
        warnings = check_inputs(suspect, base, images)
        check_timesteps(base, *self.timesteps)
        key = work_key(self, suspect, base, prompt)
        with Contrast.of(suspect, base, prompt, micro_batch=self.micro_batch, precision=self.precision) as contrast:
            found = one_by_one(run, self.name, key, images, "loss gap", lambda one: self._errors(contrast, one))
        mine, theirs = found["suspect"], found["base"]
        relative = (theirs - mine) / theirs
        return Authentication(
            method=self.name,
            names=images.names,
            scores=relative if self.relative else theirs - mine,
            signals={"suspect": -mine, "base": -theirs, "relative": relative},
            warnings=warnings,
        )

    def _errors(self, contrast: Contrast, image: ImageSet) -> dict[str, float]:
        with torch.no_grad():
            latents = contrast.base.encode(image.pixels).cpu()
        shape = tuple(latents.shape[1:])
        noise, t = fixed_samples(self.levels, shape, self.timesteps, self.seed, self.noises)
        suspect, base = contrast.errors(latents, noise, t)
        return {"suspect": float(suspect.mean()), "base": float(base.mean())}
