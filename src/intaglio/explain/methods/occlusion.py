"""occlusion: the fall of the score when a square is hidden."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.blank import blank_of
from intaglio.explain.family import Attribution, Attributor
from intaglio.models.scored_network import ScoredNetwork


@dataclass(frozen=True, kw_only=True)
class HiddenSquares(Attributor):
    """Occlusion: the fall of the score when a square of the picture is hidden.

    The square is moved over the picture by its stride; a place has the mean fall of all squares that cover it. Computed
    by captum.

    Source: Zeiler and Fergus, arXiv 1311.2901.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "hiding a square around it lowers the score"
    library = "captum"

    window: int = 8
    """Pixels of a side of the square, from 1; at most the picture's side."""
    stride: int = 4
    """Pixels by which the square is moved, from 1, at most `window`: else places between squares are never hidden."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.window >= 1, f"window must be at least 1, not {self.window}")
        require(1 <= self.stride <= self.window, f"stride must be 1 to the window's {self.window}, not {self.stride}")

    def attributed(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str
    ) -> Attribution:
        """See the family."""
        from captum.attr import Occlusion

        window, stride = min(self.window, *pixels.shape[1:]), min(self.stride, *pixels.shape[1:])
        with torch.no_grad():
            found = Occlusion(lambda given: scored.score(given, target)).attribute(
                pixels[None].to(scored.device),
                sliding_window_shapes=(3, window, window),
                strides=(3, stride, stride),
                baselines=blank_of(self.blank, pixels)[None].to(scored.device),
                perturbations_per_eval=self.batch,
            )
        return Attribution(found[0].mean(0), self.passes(max(pixels.shape[1:])))

    def passes(self, side: int) -> int:
        """A picture for each place of the square, and one with nothing hidden."""
        return (-(-max(side - self.window, 0) // self.stride) + 1) ** 2 + 1
