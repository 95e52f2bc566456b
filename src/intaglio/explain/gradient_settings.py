"""Settings of methods that spread a score by its gradients, at the picture or at a layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv1d, interpolate, pad

from intaglio.errors import require
from intaglio.explain.family import Attributor
from intaglio.models.module_outputs import outputs_of
from intaglio.models.scored_network import ScoredNetwork

MOST = 511
"""Places of a kernel's side, at most."""


@dataclass(frozen=True, kw_only=True)
class GradientAttributor(Attributor):
    """A method that needs gradients of the score by the picture or by the maps of a layer.

    What a layer's maps explain is the network above that layer alone: maps at the same layer can be compared.
    """

    bench: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {}, "smooth 17": {"smooth": 17}, "stages.1": {"layer": "stages.1"}, "stages.3": {"layer": "stages.3"},
    }  # fmt: skip

    layer: str = ""
    """Module whose maps are explained in place of the picture, such as stages.3; empty takes the picture."""
    smooth: int = 0
    """Side of the Gaussian kernel that the map is smoothed with, odd, in places of the layer (pixels of the picture);
    its standard deviation is a quarter of it. 0 leaves the map as it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        odd = 3 <= self.smooth <= MOST and self.smooth % 2 == 1
        require(self.smooth == 0 or odd, f"smooth must be 0 or an odd number of 3 to {MOST}, not {self.smooth}")

    def check(self, scored: ScoredNetwork) -> None:
        """As the family's; raises `BadInput` for a layer that there is not, too."""
        super().check(scored)
        if self.layer:
            scored.check_layers()
            scored.layer(self.layer)

    def finished(self, places: Float[Tensor, "h w"], size: tuple[int, int]) -> Float[Tensor, "height width"]:
        """Values by places of the layer, smoothed there, then brought to the picture's size bilinearly."""
        found = smoothed(places, self.smooth) if self.smooth else places
        if found.shape == size:
            return found
        return interpolate(found[None, None], size, mode="bilinear", align_corners=False)[0, 0]

    def slope_at(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int
    ) -> tuple[Float[Tensor, "c hl wl"], Float[Tensor, "c hl wl"]]:
        """The layer's maps of a picture, or its pixels, with the gradient of the score by them; on the CPU."""
        with torch.enable_grad():
            given = pixels[None].to(scored.device).requires_grad_()
            if not self.layer:
                (slope,) = torch.autograd.grad(scored.score(given, target).sum(), given)
                return pixels, slope[0].cpu()
            with outputs_of([scored.layer(self.layer)]) as found:
                score = scored.score(given, target).sum()
            (slope,) = torch.autograd.grad(score, found[0])
        return found[0][0].detach().cpu(), slope[0].cpu()

    def values_at(self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"]) -> Float[Tensor, "c hl wl"]:
        """The layer's maps of a picture, or its pixels; on the CPU."""
        if not self.layer:
            return pixels
        with torch.no_grad(), outputs_of([scored.layer(self.layer)]) as found:
            scored.logits(pixels[None])
        return found[0][0].cpu()


@dataclass(frozen=True, kw_only=True)
class ClassActivation(Attributor):
    """A method that weights the maps of one layer, and sees positive evidence alone."""

    signed: ClassVar[bool] = False
    looks_inside: ClassVar[bool] = True

    layer: str = ""
    """Module of the network whose maps, or tokens of places, are weighted, such as stages.3; empty takes the last one
    that the score sees more than one place of."""

    def check(self, scored: ScoredNetwork) -> None:
        """As the family's; raises `BadInput` for a layer that there is not, too."""
        super().check(scored)
        if self.layer and self.layer not in scored.token_layers:
            scored.layer(self.layer)

    def slope_at(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int
    ) -> tuple[Float[Tensor, "1 c hl wl"], Float[Tensor, "1 c hl wl"]]:
        """The layer's maps of a picture, and the gradient of the score by them."""
        name = self.layer or scored.last_seen_layer
        with torch.enable_grad(), outputs_of([scored.network.get_submodule(name)]) as found:
            score = scored.score(pixels[None].to(scored.device).requires_grad_(), target).sum()
            (slope,) = torch.autograd.grad(score, found[-1])
        maps = found[-1].detach()
        grid = scored.token_layers.get(name)
        return (maps, slope) if grid is None else (grid.maps(maps), grid.maps(slope))

    def passes(self, side: int) -> int:
        """A forward pass and a gradient."""
        return 3


def smoothed(places: Float[Tensor, "h w"], kernel: int) -> Float[Tensor, "h w"]:
    """A map after a Gaussian of this many places a side and a quarter of that as standard deviation; 0 lies outside.

    Source: Rao, Böhle and Schiele, arXiv 2205.10435, section 5.2.
    """
    reach = torch.arange(kernel, dtype=places.dtype, device=places.device) - kernel // 2
    weights = torch.exp(-0.5 * (reach / (kernel / 4)) ** 2)
    weights = (weights / weights.sum())[None, None]
    found = places
    for _ in range(2):  # rows, then columns
        found = cast(Tensor, conv1d(pad(found, (kernel // 2, kernel // 2))[:, None], weights))[:, 0].T
    return found
