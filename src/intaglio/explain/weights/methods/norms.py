"""Norms of kernels, which know nothing of their shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from intaglio.explain.weights.family import KernelReader, Kernels


@dataclass(frozen=True, kw_only=True)
class KernelNorms(KernelReader):
    """Unequal norms of kernels, and the gain of a layer.

    The main figure is the standard deviation of the kernels' norms as a share of their mean; the gain is the root mean
    square weight times the root of the layer's inputs. A layer is called random where the main figure is no larger than
    that of random kernels, and unequal otherwise. The shift is the length of the change as a share of the other layer's
    length.
    """

    role = "baseline"
    reading = "the standard deviation of the kernels' norms, as a share of their mean"
    shift_reading = "the length of the change as a share of the other layer's length"
    measured: ClassVar[tuple[str, ...]] = ("spread", "gain")

    def figures(self, kernels: Kernels) -> Mapping[str, float]:
        """Spread of the norms, and root mean square weight times the root of the inputs."""
        norms = kernels.flatten(2).double().norm(dim=2)
        mean = float(norms.mean())
        inputs = kernels[0].numel()
        gain = float(kernels.double().square().mean().sqrt()) * inputs**0.5
        return {"spread": float(norms.std(correction=0)) / mean if mean else 0.0, "gain": gain}

    def verdict(self, kernels: Kernels, figures: Mapping[str, float], chance: Sequence[float]) -> str:
        """Random or unequal."""
        return "random" if figures["spread"] <= max(chance) else "unequal"

    def shift(self, kernels: Kernels, others: Kernels) -> float:
        """Length of the change over that of the other layer."""
        length = float(others.double().norm())
        change = float((kernels.double() - others.double()).norm())
        return change / length if length else float(change > 0)
