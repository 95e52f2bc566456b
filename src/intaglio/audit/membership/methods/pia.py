"""PIA: the proximal initialisation attack, a membership test from two queries a picture."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.family import Authentication, Authenticator, check_inputs, check_timesteps
from intaglio.audit.membership.resume import one_by_one, work_key
from intaglio.denoising.contrast import Contrast, Precision, noise_predictions
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import Conditioning, LatentDiffusion
from intaglio.runs.run import Run


@dataclass(frozen=True)
class PIA(Authenticator):
    """How well a model agrees with its own first guess of a picture's noise.

    The model's prediction eps_0 = eps_theta(z0, 0) at the clean latent z0 stands in for the noise on the deterministic
    path from z0 to timestep t; a picture that was trained on lies closer to that path. The score of one model is

        - || eps_0 - eps_theta(sqrt(abar_t) z0 + sqrt(1 - abar_t) eps_0, t) ||_p / n^(1/p),

    averaged over `timesteps`, with n the entries of a latent, which orders pictures as the norm does. With
    `normalise` (PIAN), eps_0 is first scaled so that its mean absolute value is sqrt(2/pi), that of a standard normal.
    The published test looks at the suspect alone; `calibrate` takes the base's score off, so that a picture which any
    model finds easy does not stand out.

    Source: arXiv 2305.18355 (ICLR 2024), R_t and its normalised form, p = 4. Published runs scan t in steps and report
    the best on the evaluated data; here the timesteps are fixed beforehand.
    """

    signals: ClassVar[tuple[str, ...]] = ("suspect", "base")

    timesteps: tuple[int, ...] = (100, 200, 300, 400, 500)
    """Timesteps of the second query, averaged; each from 1."""
    norm: float = 4.0
    """p of the norm, from 1."""
    normalise: bool = False
    """Scale the first guess to the size of standard normal noise (PIAN)."""
    calibrate: bool = True
    """Take the base's score off. Published: no."""
    precision: Precision = "float32"
    """Arithmetic inside the networks; the halves by autocast."""
    micro_batch: int = 64
    """Pictures times samples in one call of a network; lower it when memory is short, the result stays."""

    def __post_init__(self):
        if not self.timesteps or min(self.timesteps) < 1:
            raise ValueError(f"timesteps must be one or more numbers from 1, not {self.timesteps}")
        if not 1 <= self.norm < math.inf:
            raise ValueError(f"norm must be a finite number from 1, not {self.norm}")
        if self.micro_batch < 1:
            raise ValueError(f"micro_batch must be at least 1, not {self.micro_batch}")

    def __call__(
        self, suspect: LatentDiffusion, base: LatentDiffusion, images: ImageSet, *, prompt: str, run: Run = Run.none()
    ) -> Authentication:
        """Scores every picture; see `Authenticator`. Signals: `suspect` and `base`, the score of each model alone."""
        warnings = check_inputs(suspect, base, images)
        check_timesteps(base, *self.timesteps)
        key = work_key(self, suspect, base, prompt)
        with Contrast.of(suspect, base, prompt, micro_batch=self.micro_batch, precision=self.precision) as contrast:
            signals = one_by_one(run, self.name, key, images, "proximal", lambda one: self._each(contrast, one))
        scores = signals["suspect"] - signals["base"] if self.calibrate else signals["suspect"].clone()
        return Authentication(method=self.name, names=images.names, scores=scores, signals=signals, warnings=warnings)

    def _each(self, contrast: Contrast, image: ImageSet) -> dict[str, float]:
        with torch.no_grad():
            latents = contrast.base.encode(image.pixels).cpu()
        mine = self._agreement(contrast.suspect, contrast.suspect_text, latents)
        theirs = self._agreement(contrast.base, contrast.base_text, latents)
        return {"suspect": float(mine), "base": float(theirs)}

    def _agreement(
        self, model: LatentDiffusion, text: Conditioning, latents: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n"]:
        how = (self.micro_batch, self.precision)
        start = torch.zeros(len(latents), 1, dtype=torch.long)
        # With the first guess for noise at timestep 0 nothing would be clean, so the latents go in as they are.
        first = noise_predictions(model, text, latents[:, None], start, *how)
        if self.normalise:
            first = first / first.abs().mean((1, 2, 3, 4), keepdim=True) * math.sqrt(2 / math.pi)
        t = torch.tensor(self.timesteps).expand(len(latents), -1)
        count = t.shape[1]
        guess = first.expand(-1, count, -1, -1, -1)
        noised = model.noised(latents.repeat_interleave(count, 0), guess.flatten(0, 1), t.flatten()).view_as(guess)
        second = noise_predictions(model, text, noised, t, *how)
        return -(guess - second).abs().pow(self.norm).flatten(2).mean(2).pow(1 / self.norm).mean(1)
