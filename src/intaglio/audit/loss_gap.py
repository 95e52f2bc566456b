"""The gap of denoising losses: the cheap baseline that every other audit must beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from intaglio.audit.contrast import Contrast, Precision, denoising_errors, fixed_samples
from intaglio.audit.protocol import Authentication, Authenticator, check_inputs, check_timesteps
from intaglio.images import ImageSet
from intaglio.models.diffusion import LatentDiffusion
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

    name: ClassVar[str] = "loss-gap"

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
        self,
        suspect: LatentDiffusion,
        base: LatentDiffusion,
        images: ImageSet,
        *,
        prompt: str,
        run: Run = Run.none(),
    ) -> Authentication:
        """Scores every picture; see `Authenticator`.

        Signals: `error_suspect` and `error_base`, both negated so that higher means "in the set" of that model.
        """
        warnings = check_inputs(suspect, base, images)
        check_timesteps(base, *self.timesteps)
        errors: dict[str, list[torch.Tensor]] = {"suspect": [], "base": []}
        with (
            Contrast.of(suspect, base, prompt, micro_batch=self.micro_batch, precision=self.precision) as contrast,
            run.progress(len(images), "loss gap") as progress,
        ):
            for i in range(len(images)):
                with torch.no_grad():
                    latents = base.encode(images.pixels[i : i + 1]).cpu()
                noise, t = self._samples(tuple(latents.shape[1:]))
                sides = {"suspect": (suspect, contrast.suspect_text), "base": (base, contrast.base_text)}
                for side, (model, text) in sides.items():
                    rows = denoising_errors(model, text, latents, noise, t, self.micro_batch, self.precision)
                    errors[side].append(rows.mean(1))
                progress.advance()
        mine, theirs = torch.cat(errors["suspect"]), torch.cat(errors["base"])
        scores = (theirs - mine) / theirs if self.relative else theirs - mine
        return Authentication(
            method=self.name,
            names=images.names,
            scores=scores,
            signals={"error_suspect": -mine, "error_base": -theirs},
            warnings=warnings,
        )

    def _samples(self, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [fixed_samples(self.levels, shape, self.timesteps, self.seed + k) for k in range(self.noises)]
        return torch.cat([noise for noise, _ in parts], 1), torch.cat([t for _, t in parts], 1)
