"""h-space: principal directions of the bottleneck's activations over sample drawings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from numpy import ndarray

from intaglio.errors import require
from intaglio.explain.directions.family import Found, SampledDirections
from intaglio.explain.directions.principal_directions import principal_directions
from intaglio.explain.site_walks import SiteWalks


@dataclass(frozen=True, kw_only=True)
class HSpaceDirections(SampledDirections):
    """Principal directions of the denoiser's bottleneck over sample drawings, at every step.

    h_t [n, c, h, w] is what the site gives at step t in n drawings. v_{i,t} is the i-th right singular vector of the
    centred h_t and sigma_{i,t} its singular value over sqrt(n - 1); signs agree with those of the first step. The edit
    is h_t + alpha sigma_{i,t} v_{i,t}, in the prediction for the prompt alone. Directions are ranked anew at every
    step, so that the i-th need not stay the same component; `joint` ties the steps together.

    Source: the space and the edit arXiv 2210.10960 (Asyrp), whose edit of the predicted clean latents alone is not
    here; principal directions in it arXiv 2303.11073. What passes the bottleneck by on skip connections is not edited,
    so that a shallow U-Net may move little: `up_blocks.0` is a site that sees more.
    """

    reading: ClassVar[str] = "one along which the site's activations differ most from drawing to drawing"
    unit: ClassVar[str] = "one standard deviation of the activations along it"
    number: ClassVar[str] = "share of variance"

    site: str = "mid_block"
    """Module of the denoiser whose output is shifted, such as mid_block or up_blocks.0."""
    count: int = 3
    """Directions, at least 1, and at most a quarter of the samples."""
    joint: bool = False
    """Take the activations of all steps as one vector, so that a direction is the same component at every step."""

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
        """The site."""
        return self.site

    def shifts(self, walks: SiteWalks, scores: Mapping[str, Float[ndarray, "n"]], target: str | None) -> Found:
        """See the class."""
        return principal_directions(walks.values, self.count, joint=self.joint)
