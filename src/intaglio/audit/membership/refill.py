"""The quantities of CGI-DM's refill: masked pictures, the state of the ascent, the mask, the ball, the plateau."""

from dataclasses import dataclass
from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.images.image_set import ImageSet
from intaglio.runs.steps import StepState


@dataclass(frozen=True, eq=False)
class MaskedPictures:
    """Pictures that are refilled together, their latents, and those of the masked pictures."""

    images: ImageSet
    known: Float[Tensor, "n c h w"]
    """z0, the latents of the pictures."""
    partial: Float[Tensor, "n 3 H W"]
    """The masked pictures, decoded from M z0 and rounded to 8 bits."""
    start: Float[Tensor, "n c h w"]
    """u0, the latents of the masked pictures."""
    keep: Float[Tensor, "1 1 h w"]
    """M, 1 where the latent is kept."""

    def latents(self, change: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """z(d): the picture's own latent where it is kept, the start plus the change elsewhere."""
        return self.keep * self.known + (1 - self.keep) * (self.start + change)

    @property
    def free(self) -> int:
        """Entries of a latent that may change."""
        return int((1 - self.keep).sum()) * self.known.shape[1]


class Stopped(IntEnum):
    """The reason for which a picture takes no further steps."""

    NO = 0
    PLATEAU = 1
    NOT_FINITE = 2


@dataclass(frozen=True, eq=False)
class RefillState(StepState):
    """The state of a group's refill; all tensors are on the CPU."""

    change: Float[Tensor, "n c h w"]
    """d, what was added to the start; zero on kept cells."""
    gaps: Float[Tensor, "n steps"]
    """G(d), as estimated in each step; NaN where a step was not taken."""
    norms: Float[Tensor, "n steps"]
    """L2 norm of the gradient over the free cells; NaN where a step was not taken."""
    taken: Int[Tensor, "n"]
    """Steps of each picture."""
    skipped: Int[Tensor, "n"]
    """Those of them that moved nothing, since the gradient was zero or not finite."""
    stopped: Int[Tensor, "n"]
    """`Stopped`"""


def checkerboard(height: int, width: int, square: int) -> Float[Tensor, "1 1 h w"]:
    """The keep-mask over latent cells: squares of `square` cells a side, kept where row plus column is even.

    Raises `ValueError` for sides that are no multiple of two squares: the halves would not be equal.
    """
    if square < 1 or height % (2 * square) or width % (2 * square):
        raise ValueError(f"{height}x{width} latents do not divide into pairs of squares of {square}")
    rows, columns = torch.arange(height) // square, torch.arange(width) // square
    return ((rows[:, None] + columns[None]) % 2 == 0).float()[None, None]


def project(change: Float[Tensor, "n c h w"], radius: float) -> Float[Tensor, "n c h w"]:
    """Each picture's change, scaled back onto the ball of that L2 radius where it lies outside."""
    norms = change.double().flatten(1).norm(dim=1).clamp_min(1e-12)
    return (change * (radius / norms).clamp(max=1)[:, None, None, None]).float()


def plateaued(gaps: Float[Tensor, "n steps"], done: int, window: int) -> Bool[Tensor, "n"]:
    """Whether the mean gap of the last `window` steps is no higher than that of the `window` before; 0: never."""
    if not window or done < 2 * window:
        return torch.zeros(len(gaps), dtype=torch.bool)
    return gaps[:, done - window : done].mean(1) <= gaps[:, done - 2 * window : done - window].mean(1)
