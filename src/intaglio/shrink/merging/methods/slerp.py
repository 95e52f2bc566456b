"""SLERP: two models joined by an arc, tensor by tensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from intaglio.denoising.picture_samples import PictureSamples
from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.shrink.merging.family import Merger
from intaglio.shrink.merging.merged import Merged, merged_model
from intaglio.shrink.merging.merged_weights import merged_weights
from intaglio.shrink.merging.weight_places import Place

STRAIGHT = 0.9995
"""|cos| of the angle above which a tensor goes along the straight line, where the arc is the same up to rounding."""


@dataclass(frozen=True, kw_only=True)
class Slerp(Merger):
    """SLERP: a point between two models on the arc from one to the other, for each tensor.

    With the angle omega of the flattened weights a and b, theta = (sin((1 - t) omega) a + sin(t omega) b) / sin(omega);
    where |cos(omega)| > 0.9995, or a tensor is all zero, (1 - t) a + t b. Weights of equal norm keep it. Fine-tunes of
    one base are mostly so near to each other that this is their mean.

    Source: Shoemake 1985, doi 10.1145/325334.325242; by tensors and with this limit as in mergekit.
    """

    most: ClassVar[int | None] = 2

    t: float = 0.5
    """Place on the arc, 0 for the first model to 1 for the second."""

    def __post_init__(self) -> None:
        require(0 <= self.t <= 1, f"t must be 0 to 1, not {self.t}")

    def __call__(
        self,
        models: Sequence[LatentDiffusion],
        base: LatentDiffusion | None = None,
        *,
        judged: PictureSamples | None = None,
        run: Run = Run.none(),
    ) -> Merged:
        self.check(models, base)

        def rule(place: Place, each: list[Tensor]) -> Tensor:
            one, two = each
            return arc_point(one, two, self.t)

        told = [{"share": 1 - self.t}, {"share": self.t}]
        return merged_model(self, merged_weights(models, rule, run), models, base, told)


def arc_point(one: Tensor, two: Tensor, t: float) -> Tensor:
    """The point at t in [0, 1] on the arc between two tensors of any one shape, float64; both ends are exact."""
    norms = one.norm() * two.norm()
    cosine = float((one * two).sum() / norms) if norms > 0 else 1.0
    if t in (0, 1) or abs(cosine) > STRAIGHT:
        return one * (1 - t) + two * t
    angle = torch.arccos(torch.tensor(cosine, dtype=torch.float64))
    near, far = float(((1 - t) * angle).sin() / angle.sin()), float((t * angle).sin() / angle.sin())
    return one * near + two * far
