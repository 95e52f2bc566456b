"""spectrum: the power of a picture's residual by frequency, and a logistic regression on it."""

from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.attribution.family import JudgedPictures, Learnt, SourceAttributor
from intaglio.audit.attribution.feature_classes import fitted_classes, judged_rows, standardised
from intaglio.audit.attribution.picture_sources import PictureSources
from intaglio.audit.attribution.source_models import Models
from intaglio.errors import BadInput, require
from intaglio.images.filters import medians
from intaglio.images.image_set import ImageSet
from intaglio.runs.picture_batches import in_batches
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run

FLOOR = 1 / (12 * 255**2)
"""Variance of the rounding to 8 bits, which is added to the power of every ring."""


@dataclass(frozen=True, kw_only=True)
class Spectrum(SourceAttributor):
    """Residual spectrum: log power by frequency of what a median removes, fitted.

    With r the picture less its median in squares of 3x3 pixels, and R its unitary discrete Fourier transform, the f
    features are the logarithms of the mean of |R|^2 over the three channels and over each of f rings of equal width,
    around radii of 1/2f, 2/2f, ... 1/2 cycle a pixel, plus the variance of rounding to 8 bits. They are standardised
    by the pictures that teach. The log posterior is that of a multinomial logistic regression with an L2 penalty; the
    knownness is the log density under normal distributions of the sources that share one covariance, shrunk after
    Ledoit and Wolf (2004).

    Networks that enlarge feature maps leave marks in high frequencies. Source: Durall, Keuper, Keuper, arXiv
    2003.01826, take the spectrum of the picture itself; the residual, and these settings, are ours.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "how strong the finest detail is at each frequency"

    rings: int = 32
    """Features f, 2 or more; pictures of s pixels a side give at most s / 2."""
    penalty: float = 0.01
    """Weight of the squared coefficients against the summed log likelihood, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.rings >= 2, f"rings must be 2 or more, not {self.rings}")
        require(0 < self.penalty < float("inf"), f"penalty must be above 0, and finite, not {self.penalty}")

    def check(self, sources: PictureSources) -> None:
        """Raises `BadInput` for pictures with fewer frequencies than rings."""
        side = min(sources.images.pixels.shape[2:])
        if side < 2 * self.rings:
            raise BadInput(
                f"pictures of {side} pixels have {side // 2} rings of frequencies at most; give --rings {side // 2}, "
                "or larger pictures"
            )

    def learn(self, sources: PictureSources, models: Models, run: Run) -> Learnt:
        """Mean and deviation of the features, coefficients, and the normal distributions."""

        def features(part: ImageSet) -> dict[str, Tensor]:
            return {str(k): column for k, column in enumerate(ring_powers(part.pixels, self.rings).T)}

        key = digest([self.name, asdict(self)])
        found = in_batches(run, f"{self.name} features", key, sources.images, features, batch=self.batch)
        rows = torch.stack([found[str(k)] for k in range(self.rings)], 1).double()
        return fitted_classes(rows, sources.labels, sources.images.hashes, len(sources.names), self.penalty)

    def judge(self, learnt: Learnt, pixels: Float[Tensor, "n 3 h w"], models: Models) -> JudgedPictures:
        """By the logistic regression, and by the normal distributions."""
        return judged_rows(learnt, ring_powers(pixels, self.rings))

    def features(self, learnt: Learnt, pixels: Float[Tensor, "n 3 h w"], models: Models) -> Float[Tensor, "n f"]:
        """Log powers, standardised."""
        return standardised(learnt, ring_powers(pixels, self.rings))


def ring_powers(pixels: Float[Tensor, "n 3 h w"], rings: int) -> Float[Tensor, "n f"]:
    """Log of the residual's mean power in each ring, whose floor is the variance of rounding."""
    residual = pixels - medians(pixels, 3)
    power = torch.fft.fft2(residual.double(), norm="ortho").abs().square().mean(1)
    y, x = (torch.fft.fftfreq(side, dtype=torch.float64) for side in pixels.shape[-2:])
    ring = (2 * rings * torch.hypot(y[:, None], x[None])).round().long().flatten()
    inside = (ring >= 1) & (ring <= rings)
    sums = torch.zeros(len(pixels), rings, dtype=torch.float64).index_add_(
        1, ring[inside] - 1, power.flatten(1)[:, inside]
    )
    return (sums / torch.bincount(ring[inside] - 1, minlength=rings) + FLOOR).log().float()
