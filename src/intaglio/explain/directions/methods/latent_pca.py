"""latent-pca: principal directions of the clean latents that predictions speak for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from numpy import ndarray

from intaglio.errors import require
from intaglio.explain.directions.family import Found, SampledDirections
from intaglio.explain.directions.principal_directions import principal_directions
from intaglio.explain.site_walks import LATENTS, SiteWalks


@dataclass(frozen=True, kw_only=True)
class LatentDirections(SampledDirections):
    """Principal directions of the clean latents that each step predicts.

    No module of the denoiser is asked. The directions are those of h-space with the clean latents
    (x_t - noise_t eps) / signal_t [n, c, h, w] in place of the bottleneck's activations; the edit is of the clean
    latents that the prompt's prediction speaks for, and so of its noise.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "one along which the predicted latents differ most from drawing to drawing"
    unit: ClassVar[str] = "one standard deviation of the predicted latents along it"
    number: ClassVar[str] = "share of variance"

    count: int = 3
    """Directions, at least 1, and at most a quarter of the samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.samples // 4
        require(1 <= self.count <= most, f"count must be 1 to a quarter of the samples, {most}, not {self.count}")

    @property
    def planned_directions(self) -> int:
        """Those of `count`."""
        return self.count

    @property
    def place(self) -> str:
        """The clean latents."""
        return LATENTS

    def shifts(self, walks: SiteWalks, scores: Mapping[str, Float[ndarray, "n"]], target: str | None) -> Found:
        """See the class."""
        return principal_directions(walks.values, self.count)
