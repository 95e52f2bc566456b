"""Kernels of a layer as a picture."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.explain.heat_maps import coloured

ACROSS = 8
"""Kernels of a row of the sheet, and rows."""
PIXELS = 6
"""Of a side of a weight."""


def kernel_sheet(kernels: Float[Tensor, "o i kh kw"]) -> Float[Tensor, "3 h w"]:
    """At most 64 kernels on one scale, spread evenly over the layer's: red above 0, blue below, white at 0."""
    rows = kernels.flatten(0, 1)
    count = min(len(rows), ACROSS**2)
    chosen = rows[torch.linspace(0, len(rows) - 1, count).round().long()]
    down = -(-count // ACROSS)
    height, width = (side + 1 for side in kernels.shape[2:])
    sheet = torch.zeros(down * height + 1, ACROSS * width + 1)
    for k, kernel in enumerate(chosen):
        top, left = k // ACROSS * height + 1, k % ACROSS * width + 1
        sheet[top : top + height - 1, left : left + width - 1] = kernel
    return coloured(sheet).repeat_interleave(PIXELS, 1).repeat_interleave(PIXELS, 2)
