"""reconstruction: how well the sources' own models give a picture back, and denoise it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.attribution.family import JudgedPictures, Learnt, SourceAttributor
from intaglio.audit.attribution.feature_classes import fitted_classes, judged_rows, standardised
from intaglio.audit.attribution.picture_sources import PictureSources
from intaglio.audit.attribution.source_models import Models, fingerprints
from intaglio.denoising.losses import losses
from intaglio.denoising.samples import fixed_samples
from intaglio.errors import require
from intaglio.images.image_set import ImageSet
from intaglio.models.capabilities import Encodes, PredictsNoise, ReadsPrompts
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.picture_batches import in_batches
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run

FLOOR = 1 / (12 * 255**2)
"""Variance of the rounding to 8 bits, which is added to every error of a round trip."""
MICRO_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class ReconstructionErrors(SourceAttributor):
    """Reconstruction errors: how the sources' models give a picture back and denoise it.

    With E and D a model's encoder and decoder and z = E(x), its features of a picture x are log(|x - D(z)|^2 / d + r),
    with d the numbers of x and r the variance of rounding to 8 bits, and the logarithm of the mean over k fixed pairs
    of timestep and noise of its denoising error of z, under the empty prompt. An autoencoder that several models share
    gives one feature, and so do models that are the same. What a model made it denoises, and gives back, best of all.
    The posterior is that of a multinomial logistic regression on all features, with an L2 penalty; the knownness is the
    log density under normal distributions of the sources that share one covariance, shrunk after Ledoit and Wolf
    (2004).

    One model or more are wanted, of any of the sources; a source without one, such as real pictures, is told by how the
    models of others take it. Lowest reconstruction error as the sign of a picture's model is common in the literature;
    the two errors together, the logarithms and the fit are ours.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "how well the sources' own models give a picture back, and denoise it"
    needs_models: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise)

    timesteps: int = 8
    """Pairs k of timestep and noise, the same for every picture and model; 1 or more."""
    times: tuple[int, int] = (0, 999)
    """Lowest and highest timestep, in 0..999; one is drawn from each of k equal bins."""
    penalty: float = 0.01
    """Weight of the squared coefficients against the summed log likelihood, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.timesteps >= 1, f"timesteps must be 1 or more, not {self.timesteps}")
        low, high = self.times
        require(0 <= low <= high <= 999, f"times must be two timesteps in 0..999, the lower first, not {self.times}")
        require(0 < self.penalty < float("inf"), f"penalty must be above 0, and finite, not {self.penalty}")

    def learn(self, sources: PictureSources, models: Models, run: Run) -> Learnt:
        """Mean and deviation of the features, coefficients, and the normal distributions."""

        def features(part: ImageSet) -> dict[str, Tensor]:
            return {str(k): column for k, column in enumerate(self.errors(models, part.pixels).T)}

        key = digest([self.name, asdict(self), fingerprints(models)])
        found = in_batches(run, f"{self.name} features", key, sources.images, features, batch=self.batch)
        rows = torch.stack([found[str(k)] for k in range(len(found))], 1).double()
        return fitted_classes(rows, sources.labels, sources.images.hashes, len(sources.names), self.penalty)

    def look(self, models: Models, side: int) -> Callable[[], object]:
        """The errors of one grey picture."""
        grey = torch.full((1, 3, side, side), 0.5)
        return lambda: self.errors(models, grey)

    def judge(self, learnt: Learnt, pixels: Float[Tensor, "n 3 h w"], models: Models) -> JudgedPictures:
        """By the logistic regression, and by the normal distributions."""
        return judged_rows(learnt, self.errors(models, pixels))

    def features(self, learnt: Learnt, pixels: Float[Tensor, "n 3 h w"], models: Models) -> Float[Tensor, "n f"]:
        """Logarithms of the errors, standardised."""
        return standardised(learnt, self.errors(models, pixels))

    def errors(self, models: Models, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n f"]:
        """Logarithms of the errors: those of round trips, then those of denoising, in the order of the sources' names.

        Args:
            models: by source; whatever their order.
            pixels: in [0, 1].
        """
        trips: dict[str, Tensor] = {}
        denoised: dict[str, Tensor] = {}
        for name in sorted(models):
            model = models[name]
            if model.fingerprint in denoised:
                continue
            autoencoder = model.part_fingerprint("autoencoder")
            with torch.no_grad(), model.frozen():
                latents = model.encode(pixels)
                if autoencoder not in trips:
                    apart = (pixels - model.decode(latents).cpu()).double()
                    trips[autoencoder] = (apart.square().mean((1, 2, 3)) + FLOOR).log()
                denoised[model.fingerprint] = self._denoising(model, latents.cpu())
        return torch.stack([*trips.values(), *denoised.values()], 1).float()

    def _denoising(self, model: LatentDiffusion, latents: Float[Tensor, "n c hl wl"]) -> Float[Tensor, "n"]:
        """Logarithm of the mean denoising error at the fixed pairs."""
        noise, t = fixed_samples(self.timesteps, tuple(latents.shape[1:]), self.times, self.seed)
        count = len(latents)
        pairs = noise.expand(count, -1, -1, -1, -1), t.expand(count, -1)
        return losses(model, model.embed([""]), latents, *pairs, MICRO_BATCH).double().mean(1).clamp_min(1e-12).log()
