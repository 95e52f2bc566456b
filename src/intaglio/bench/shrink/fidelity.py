"""Fidelity of a smaller model to the one it was made from: by predictions, losses of pictures, and drawn pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.denoising.samples import fixed_samples
from intaglio.images.image_set import ImageSet
from intaglio.metrics.distributions import kernel_distance, kernel_distance_interval, stretched
from intaglio.metrics.quality import psnr, ssim
from intaglio.metrics.statistics.interval import interval
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.sampling.loop import sample
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.price import prediction_error

STEPS, SCALE = 20, 3.0
"""Steps of DDIM and guidance scale of drawn pictures."""
LEVELS = 4
"""Timesteps, one from each quarter of the schedule, at which the loss of a picture is taken."""


@dataclass(frozen=True, eq=False)
class Fidelity:
    """The model that smaller ones are compared with, and what they are compared on; each is computed once."""

    model: LatentDiffusion
    rows: CalibrationStates
    """States that no method learned from."""
    unseen: ImageSet
    """Pictures that the model was not trained on."""
    trained: ImageSet
    """Pictures that it was trained on."""
    prompts: Sequence[str]
    """Of the drawn pictures."""
    each: int
    """Pictures of a prompt, 1 or more."""
    seed: int
    batch: int = 8

    def figures(self, small: LatentDiffusion) -> dict[str, Any]:
        """Error of predictions, rise of the loss, and distances of pictures of equal seeds, with intervals."""
        error = prediction_error(self.model, small, self.rows, self.batch)
        return {"error": error.figures(), **self._losses(small), **self._pictures(small)}

    @cached_property
    def floor(self) -> float:
        """Kernel distance between the model's own pictures of two sets of seeds."""
        return kernel_distance(self._described(self.drawn), self._reference)

    @cached_property
    def drawn(self) -> Float[Tensor, "n 3 h w"]:
        """The model's pictures, which those of smaller models are of the seeds of."""
        return self._draw(self.model, "drawn")

    @cached_property
    def _reference(self) -> Float[ndarray, "n d"]:
        """Descriptors of the model's pictures of other seeds."""
        return self._described(self._draw(self.model, "reference"))

    @cached_property
    def _real(self) -> Float[ndarray, "n d"]:
        return self._described(self.trained.pixels)

    @cached_property
    def own_kid(self) -> float:
        """Kernel distance of the model's pictures to real ones."""
        return kernel_distance(self._described(self.drawn), self._real)

    def _pictures(self, small: LatentDiffusion) -> dict[str, Any]:
        pixels = self._draw(small, "drawn")
        mine, own = self._described(pixels), self._described(self.drawn)
        groups = [np.arange(k, len(mine), len(self.prompts)) for k in range(len(self.prompts))]
        low, high = kernel_distance_interval(groups, mine, self._reference)
        apart = np.square(mine - own).sum(1) / mine.shape[1]
        return {
            "kid": {"mean": kernel_distance(mine, self._reference), "low": low, "high": high},
            "kid_real": kernel_distance(mine, self._real),
            "distance": _mean(apart),
            "psnr": float(psnr(self.drawn, pixels).clamp(max=99).mean()),
            "ssim": float(ssim(self.drawn, pixels).mean()),
        }

    def _losses(self, small: LatentDiffusion) -> dict[str, Any]:
        """The rise of the denoising loss over that of the model, on pictures it was trained on and on others."""
        found = {}
        for name, images in (("unseen", self.unseen), ("trained", self.trained)):
            before, after = self._loss[name], self._errors(small, images)
            found[f"loss_{name}"] = {"before": float(before.mean()), "rise": _mean((after - before).numpy())}
        return found

    @cached_property
    def _loss(self) -> dict[str, Float[Tensor, "n"]]:
        return {"unseen": self._errors(self.model, self.unseen), "trained": self._errors(self.model, self.trained)}

    @torch.no_grad()
    def _errors(self, model: LatentDiffusion, images: ImageSet) -> Float[Tensor, "n"]:
        """The loss of each picture under its caption, mean over the same timesteps and noises for all models."""
        captions, found = [caption or "" for caption in images.captions], []
        with model.frozen():
            for first in range(0, len(images), self.batch):
                cut = slice(first, first + self.batch)
                latents = model.encode(images.pixels[cut].to(model.device))
                given = model.embed(captions[cut])
                limits = (0, model.schedule.count - 1)
                noises, times = fixed_samples(LEVELS, tuple(latents.shape[1:]), limits, self.seed)
                each = [
                    model.error(latents, noise.expand_as(latents).to(model.device), t.expand(len(latents)), given)
                    for noise, t in zip(noises[0], times[0].to(model.device), strict=True)
                ]
                found.append(torch.stack(each).mean(0).cpu())
        return torch.cat(found)

    def _draw(self, model: LatentDiffusion, name: str) -> Float[Tensor, "n 3 h w"]:
        prompts = list(self.prompts) * self.each
        seeds = [seed_32bit(self.seed, "shrink bench", name, k) for k in range(len(prompts))]
        return sample(model, prompts, seeds, steps=STEPS, guidance_scale=SCALE, batch=self.batch).pixels

    def _described(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[ndarray, "n d"]:
        encoder = embedded_encoder(str(self.model.device))
        return stretched(encoder.embed(pixels).numpy())


def _mean(values: Float[ndarray, "n"]) -> dict[str, float]:
    low, high = interval(lambda sample: np.asarray(sample).mean(-1), [values])
    return {"mean": float(values.mean()), "low": low, "high": high}
