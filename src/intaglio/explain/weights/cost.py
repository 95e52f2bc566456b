"""The time of reading kernels, before it begins."""

from collections.abc import Sequence

from intaglio.explain.weights.family import KernelReader
from intaglio.explain.weights.kernel_layers import KernelLayer
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of


def weights_plan(method: KernelReader, layers: Sequence[KernelLayer], *, shifted: bool) -> TimePlan:
    """Seconds of all layers, by one layer of middle size that is timed."""
    sizes = sorted(layers, key=lambda one: one.kernels.numel())
    middle = sizes[len(sizes) // 2]
    numbers = sum(one.kernels.numel() for one in layers)
    each = seconds_of(lambda: method.figures(middle.kernels), "cpu") / middle.kernels.numel() * numbers
    parts = {"figures": each, "random layers": each * method.draws, "shifts": 2 * each if shifted else 0.0}
    kernels = sum(one.kernels.shape[0] * one.kernels.shape[1] for one in layers)
    return TimePlan(parts, f"layers     {len(layers)} of {kernels:,} kernels, {method.draws} random ones beside each")
