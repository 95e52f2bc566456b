"""Share of a picture that has a colour, or any ink at all: exact scores with a gradient."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

HUES: Mapping[str, tuple[float, float, float]] = {
    "red": (1.0, 0.0, 0.0),
    "yellow": (1.0, 1.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "cyan": (0.0, 1.0, 1.0),
    "blue": (0.0, 0.0, 1.0),
    "magenta": (1.0, 0.0, 1.0),
}
"""Colours by name, as full red, green and blue."""
SOFTNESS = 0.05
"""Width of the thresholds, in units of pixels in [0, 1]."""
LEAST_CHROMA, LEAST_INK, LIKE = 0.2, 0.1, 0.85
"""Chroma of a coloured pixel, darkness of an inked one, and cosine with a hue from which a pixel has it, at least."""


@dataclass(frozen=True)
class ColourShare:
    """Share of the pixels of one hue, or with `ink` of those that are not white; in [0, 1].

    Thresholds are logistic functions, so that a gradient reaches the pixels.
    """

    colour: str = "blue"
    """A name in `HUES`, or `ink`."""
    differentiable: bool = True
    calls: int = 0

    def __post_init__(self) -> None:
        if self.colour not in (*HUES, "ink"):
            raise ValueError(f"there is no colour {self.colour!r}; use one of {', '.join(HUES)}, or ink")

    @property
    def name(self) -> str:
        return self.colour if self.colour == "ink" else f"colour:{self.colour}"

    @property
    def hash(self) -> str:
        settings = f"colour {self.colour} {SOFTNESS} {LEAST_CHROMA} {LEAST_INK} {LIKE}"
        return hashlib.sha256(settings.encode()).hexdigest()

    def __call__(self, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """The share of each picture; NaN for one that is not finite."""
        if self.colour == "ink":
            inked = torch.sigmoid((1 - pixels.mean(1) - LEAST_INK) / SOFTNESS)
            return inked.mean((1, 2)).float().cpu()
        centred = pixels - pixels.mean(1, keepdim=True)
        hue = torch.tensor(HUES[self.colour], device=pixels.device)
        hue = (hue - hue.mean()) / (hue - hue.mean()).norm()
        length = (centred.square().sum(1) + 1e-12).sqrt()
        like = (centred * hue.view(1, 3, 1, 1)).sum(1) / length
        coloured = torch.sigmoid((length - LEAST_CHROMA) / SOFTNESS) * torch.sigmoid((like - LIKE) / SOFTNESS)
        return coloured.mean((1, 2)).float().cpu()
