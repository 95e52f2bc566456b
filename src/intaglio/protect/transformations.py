"""Transformations that a change is made to survive: random, and differentiable by the picture.

Expectation over transformations (arXiv 1707.07397): the gradient is averaged over draws of what may be done to the
picture afterwards. Strengths are drawn anew for each view, from a range around that of the purifier of the same name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from intaglio.images.filters import blurred, jpeg, resized

View = Float[Tensor, "1 3 h w"]


@dataclass(frozen=True)
class Transformation:
    """A random transformation, by the name of the purifiers that it stands for."""

    name: str
    words: str
    draw: Callable[[Tensor, torch.Generator], Tensor]
    """From a view [1, 3, h, w] in [0, 1] and a generator to the view transformed, of the same size."""
    trains_for: tuple[str, ...]
    """Names of the purifiers that a change made with it has seen."""


def _between(low: float, high: float, source: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=source))


def _through_jpeg(view: View, source: torch.Generator) -> View:
    """Saved with a quality of 40 to 95; the gradient passes as if nothing had been done (arXiv 1802.00420)."""
    quality = round(_between(40.0, 95.0, source))
    return view + (jpeg(view.detach(), quality) - view).detach()


def _through_resizing(view: View, source: torch.Generator) -> View:
    return resized(view, _between(0.4, 0.9, source))


def _through_blur(view: View, source: torch.Generator) -> View:
    return blurred(view, _between(0.3, 1.5, source))


def _through_noise(view: View, source: torch.Generator) -> View:
    noise = torch.randn(view.shape, generator=source)
    return (view + _between(0.0, 0.1, source) * noise).clamp(0, 1)


def _through_crop(view: View, source: torch.Generator) -> View:
    """A square of 80 to 100% of the sides, enlarged again."""
    height, width = view.shape[-2:]
    share = _between(0.8, 1.0, source)
    rows, columns = (max(1, round(share * length)) for length in (height, width))
    top, left = (int(torch.randint(rest + 1, (), generator=source)) for rest in (height - rows, width - columns))
    part = view[..., top : top + rows, left : left + columns]
    return functional.interpolate(part, (height, width), mode="bicubic").clamp(0, 1)


_EVERY = (
    Transformation(
        "jpeg", "JPEG of a quality of 40 to 95", _through_jpeg, trains_for=("jpeg-90", "jpeg-75", "jpeg-50")
    ),
    Transformation("resize", "shrunk to 40 to 90% and enlarged again", _through_resizing, trains_for=("resize",)),
    Transformation("blur", "blurred by a Gaussian of 0.3 to 1.5 pixels", _through_blur, trains_for=("blur",)),
    Transformation("noise", "Gaussian noise of up to 0.1 of the range", _through_noise, trains_for=("noise",)),
    Transformation("crop", "cut to 80 to 100% of the sides and enlarged again", _through_crop, trains_for=()),
)
TRANSFORMATIONS: Mapping[str, Transformation] = {one.name: one for one in _EVERY}
"""By name."""


def transformed(view: View, names: Sequence[str], source: torch.Generator) -> View:
    """The view as it is, or after one of the transformations, each with the same chance."""
    chosen = int(torch.randint(len(names) + 1, (), generator=source))
    return view if chosen == len(names) else TRANSFORMATIONS[names[chosen]].draw(view, source)


def seen_purifiers(names: Sequence[str]) -> tuple[str, ...]:
    """The purifiers that a change made with these transformations was trained on."""
    return tuple(dict.fromkeys(purifier for name in names for purifier in TRANSFORMATIONS[name].trains_for))
