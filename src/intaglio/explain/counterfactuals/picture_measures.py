"""Attributes that can be measured in a picture itself, and the line from such a measure to a table's numbers.

The background of a picture is the median colour of its border; ink is what differs from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from intaglio.errors import BadInput

INK = 0.2
"""Largest difference of a channel from the background, beyond which a pixel is ink."""
Pictures = Float[Tensor, "n 3 h w"]
Measure = Callable[[Pictures], Float[Tensor, "n"]]


def ink_of(pixels: Pictures) -> Bool[Tensor, "n h w"]:
    """Pixels that are ink."""
    edges = [pixels[:, :, 0], pixels[:, :, -1], pixels[:, :, :, 0], pixels[:, :, :, -1]]
    background = torch.cat(edges, 2).median(2).values
    return (pixels - background[:, :, None, None]).abs().amax(1) > INK


def ink_area(pixels: Pictures) -> Float[Tensor, "n"]:
    """Share of pixels that are ink, 0 to 1."""
    return ink_of(pixels).float().mean((1, 2))


def ink_side(pixels: Pictures) -> Float[Tensor, "n"]:
    """Square root of the share of ink, which is proportional to the side of what is shown."""
    return ink_area(pixels).sqrt()


def ink_brightness(pixels: Pictures) -> Float[Tensor, "n"]:
    """Mean of the channels over the ink, 0 to 1; 0 where there is none."""
    ink = ink_of(pixels).float()
    return (pixels.mean(1) * ink).sum((1, 2)) / ink.sum((1, 2)).clamp_min(1)


def brightness(pixels: Pictures) -> Float[Tensor, "n"]:
    """Mean of the channels over the picture, 0 to 1."""
    return pixels.mean((1, 2, 3))


MEASURES: Mapping[str, Measure] = {
    "ink-area": ink_area,
    "ink-side": ink_side,
    "ink-brightness": ink_brightness,
    "brightness": brightness,
}
"""Measures by name."""


@dataclass(frozen=True, eq=False)
class MeasuredAttribute:
    """An attribute by a measure of pictures: slope * measure + offset, in the table's units."""

    measure: str
    slope: float
    offset: float
    fit: float
    """Share of the table's variance that the line explains, 0 to 1."""

    def __call__(self, pixels: Pictures) -> Float[ndarray, "n"]:
        """The attribute of pictures."""
        return self.slope * MEASURES[self.measure](pixels).double().cpu().numpy() + self.offset


def measured_attribute(measure: str, pixels: Pictures, values: Float[ndarray, "n"]) -> MeasuredAttribute:
    """The line of least squares from a measure of pictures to their values, which differ.

    Raises `BadInput` for a measure that there is not, and for one that is the same in all pictures.
    """
    if measure not in MEASURES:
        raise BadInput(f"there is no measure {measure!r}; choose from: {', '.join(MEASURES)}")
    found = MEASURES[measure](pixels).double().cpu().numpy()
    if np.ptp(found) < 1e-9:
        raise BadInput(f"the measure {measure} is the same in all pictures; choose another")
    slope, offset = np.polyfit(found, values, 1)
    left = values - slope * found - offset
    return MeasuredAttribute(measure, float(slope), float(offset), float(1 - left.var() / values.var()))
