"""Networks of convolutions and a last linear layer, as layers in training: those of the simulated device."""

import numpy as np

from intaglio.energy.layers.layer import LayerFamily, SizedLayer

BATCH = 32
STEP = LayerFamily("step")


def convolution(side, c_in, c_out, *, first=False):
    family = LayerFamily(
        "convolution",
        (("taps", 9),),
        (("positions", BATCH * side * side),),
        train=True,
        input_grad=not first,
        weight_grad=True,
    )
    return SizedLayer(family, (c_in, c_out))


def head(c_in, c_out=10):
    family = LayerFamily("linear", (), (("positions", BATCH),), train=True, input_grad=True, weight_grad=True)
    return SizedLayer(family, (c_in, c_out))


def network(widths):
    """Four convolutions of these widths at sides 32, 32, 16 and 8, and a linear layer of 10 outputs."""
    a, b, c, d = (int(width) for width in widths)
    first = convolution(32, 3, a, first=True)
    return [first, convolution(32, a, b), convolution(16, b, c), convolution(8, c, d), head(d)]


def networks(count, seed):
    return [network(widths) for widths in np.random.default_rng(seed).integers(8, 257, (count, 4))]
