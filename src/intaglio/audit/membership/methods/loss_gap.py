"""The difference of two models' denoising losses: the cheap baseline that every other audit must beat."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.cost import DenoiserCalls, in_micro_batches
from intaglio.audit.membership.family import (
    OWN_SCORE,
    AuditInputs,
    Authentication,
    Authenticator,
    check_least,
    check_range,
)
from intaglio.audit.membership.work_key import work_key
from intaglio.denoising.contrast import Contrast
from intaglio.denoising.losses import Precision
from intaglio.denoising.samples import fixed_samples
from intaglio.images.image_set import ImageSet
from intaglio.runs.picture_batches import in_batches
from intaglio.runs.run import Run


@dataclass(frozen=True)
class LossGap(Authenticator):
    """Loss gap: by how much better the suspect denoises a picture than the base does.

    The score is the mean over fixed pairs (t, eps) of l_base(z0; t, eps) - l_suspect(z0; t, eps), where l is a model's
    mean squared denoising error in its own target and z0 the picture's latent. The pairs are the same for both models
    and for all pictures, with one timestep from each of `levels` equal bins and `noises` draws of noise for each; no
    gradient is taken. A picture that was trained on is denoised better by the suspect.

    A loss threshold with the base as the reference, after arXiv 1709.01604 and 2111.08440; for diffusion models, see
    the naive attack in arXiv 2302.01316.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "by how much better the suspect denoises the picture than the base does"
    signals: ClassVar[tuple[str, ...]] = ("suspect", "base", "relative")
    loss_difference: ClassVar[str | None] = OWN_SCORE
    own_captions: ClassVar[Literal["refused", "taken", "needed"]] = "taken"

    levels: int = 20
    """Timesteps, one from each of as many equal bins; from 1."""
    noises: int = 2
    """Draws of noise a timestep; from 1."""
    timesteps: tuple[int, int] = (1, 999)
    """First and last timestep that may be drawn."""
    relative: bool = False
    """Divide the gap by the base's error, so that busy pictures do not outweigh plain ones."""
    precision: Precision = "float32"
    """Arithmetic inside the networks; float16 and bfloat16 by autocast."""
    micro_batch: int = 64
    """Pictures times samples in one call of a network; lower it when memory is short, the result stays."""
    seed: int = 0
    """Fixes timesteps and noise."""

    def __post_init__(self) -> None:
        check_least(self, {"levels": 1, "noises": 1, "micro_batch": 1})
        check_range(self.timesteps)

    @property
    def last_timestep(self) -> int:
        """The last timestep that may be drawn."""
        return self.timesteps[1]

    def calls(self, pictures: int, models: int) -> tuple[DenoiserCalls, ...]:
        """Every sample of a picture once by each model, a picture at a time."""
        batches = in_micro_batches([self.levels * self.noises], self.micro_batch, times=models * pictures)
        return (DenoiserCalls(batches, encoded=pictures),)

    def audit(self, inputs: AuditInputs, images: ImageSet, run: Run) -> Authentication:
        """Signals: `suspect` and `base`, each model's mean error, negated; `relative`, the difference over the base's.

        One picture at a time: its samples alone fill the networks' batches.
        """
        key = work_key(self, inputs, images=images)
        suspect, base = inputs.pair
        how = {"micro_batch": self.micro_batch, "precision": self.precision}
        with Contrast.of(suspect, base, inputs.prompt, **how) as contrast:

            def losses(part: ImageSet) -> dict[str, Tensor]:
                own = contrast.under(inputs.prompts_of(part)) if inputs.own_captions else contrast
                return self._losses(own, part)

            found = in_batches(run, self.name, key, images, losses)
        mine, theirs = found["suspect"], found["base"]
        relative = (theirs - mine) / theirs
        return Authentication(
            method=self.name,
            names=images.names,
            scores=relative if self.relative else theirs - mine,
            signals={"suspect": -mine, "base": -theirs, "relative": relative},
        )

    def _losses(self, contrast: Contrast, image: ImageSet) -> dict[str, Float[Tensor, "1"]]:
        """Each model's mean loss over the fixed samples."""
        latents = contrast.encode(image.pixels)
        noise, t = fixed_samples(self.levels, tuple(latents.shape[1:]), self.timesteps, self.seed, self.noises)
        suspect, base = contrast.losses(latents, noise, t)
        return {"suspect": suspect.mean(1), "base": base.mean(1)}
