"""`KINDS`: the kinds of layers, with the names of their sizes, their operations, their numbers and their weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Sizes = Mapping[str, int]
Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of layer. Counts are those of the forward pass."""

    sizes: tuple[str, ...]
    """Names of its sizes. `positions` is the product of batch and places: pixels of the output, or tokens."""
    flops: Callable[[Sizes, Attributes], float]
    """Floating-point operations; a multiplication with its addition counts 2."""
    numbers: Callable[[Sizes, Attributes], float | int]
    """Numbers read and written, without weights."""
    parameters: Callable[[Sizes, Attributes], int] = lambda sizes, attributes: 0
    """Weights and biases."""
    tiled: tuple[str, ...] = ()
    """Sizes that kernels round up to tiles."""
    matrix: bool = False
    """Whether operations, not bytes, limit it."""


def _conv_weights(n: Sizes, a: Attributes) -> int:
    """Weights of a convolution; with groups as many as channels each output channel reads one input channel."""
    per_output = 1 if a.get("depthwise") else n["c_in"] // int(a.get("groups", 1))
    return int(a.get("taps", 9)) * per_output * n["c_out"]


def _conv_flops(n: Sizes, a: Attributes) -> float:
    return 2.0 * n["positions"] * _conv_weights(n, a)


def _conv_numbers(n: Sizes, a: Attributes) -> float:
    shrunk = float(a.get("shrink", 1))
    return n["positions"] * (n["c_in"] * shrunk + n["c_out"])


def _lstm_weights(n: Sizes, a: Attributes) -> int:
    directions = 2 if a.get("bidirectional") else 1
    layers = int(a.get("layers", 1))
    deeper = (layers - 1) * (n["hidden"] * directions + n["hidden"] + 2)
    return 4 * n["hidden"] * directions * (n["c_in"] + n["hidden"] + 2 + deeper)


KINDS: Mapping[str, Kind] = {
    "convolution": Kind(
        ("c_in", "c_out", "positions"),
        flops=_conv_flops,
        numbers=_conv_numbers,
        parameters=lambda n, a: _conv_weights(n, a) + (n["c_out"] if a.get("bias") else 0),
        tiled=("c_in", "c_out"),
        matrix=True,
    ),
    "linear": Kind(
        ("c_in", "c_out", "positions"),
        flops=lambda n, a: 2.0 * n["positions"] * n["c_in"] * n["c_out"],
        numbers=lambda n, a: n["positions"] * (n["c_in"] + n["c_out"]),
        parameters=lambda n, a: n["c_in"] * n["c_out"] + (n["c_out"] if a.get("bias") else 0),
        tiled=("c_in", "c_out"),
        matrix=True,
    ),
    "matmul": Kind(
        ("batch", "rows", "inner", "columns"),
        flops=lambda n, a: 2.0 * n["batch"] * n["rows"] * n["inner"] * n["columns"],
        numbers=lambda n, a: (
            n["batch"] * (n["rows"] + n["columns"]) * n["inner"] + n["batch"] * n["rows"] * n["columns"]
        ),
        tiled=("rows", "columns"),
        matrix=True,
    ),
    "attention": Kind(
        ("heads", "queries", "keys", "width"),
        flops=lambda n, a: 4.0 * n["heads"] * n["queries"] * n["keys"] * n["width"],
        numbers=lambda n, a: 2.0 * n["heads"] * (n["queries"] + n["keys"]) * n["width"],
        matrix=True,
    ),
    "norm": Kind(
        ("channels", "positions"),
        flops=lambda n, a: 8.0 * n["channels"] * n["positions"],
        numbers=lambda n, a: 2.0 * n["channels"] * n["positions"],
        parameters=lambda n, a: 2 * n["channels"] if a.get("affine", True) else 0,
    ),
    "elementwise": Kind(("numbers",), flops=lambda n, a: float(n["numbers"]), numbers=lambda n, a: 2.0 * n["numbers"]),
    "embedding": Kind(
        ("width", "positions", "rows"),
        flops=lambda n, a: 0.0,
        numbers=lambda n, a: 2.0 * n["width"] * n["positions"],
        parameters=lambda n, a: n["width"] * n["rows"],
    ),
    "lstm": Kind(
        ("c_in", "hidden", "steps", "batch"),
        flops=lambda n, a: 2.0 * n["steps"] * n["batch"] * _lstm_weights(n, a),
        numbers=lambda n, a: n["steps"] * n["batch"] * (n["c_in"] + n["hidden"] * (2 if a.get("bidirectional") else 1)),
        parameters=_lstm_weights,
        tiled=("hidden",),
        matrix=True,
    ),
    "optimiser": Kind(
        ("numbers", "tensors"), flops=lambda n, a: 12.0 * n["numbers"], numbers=lambda n, a: 7.0 * n["numbers"]
    ),
    "step": Kind((), flops=lambda n, a: 0.0, numbers=lambda n, a: 1.0),
}
"""`optimiser` is one update of so many numbers in so many tensors; `step` what a step costs beside its layers."""
