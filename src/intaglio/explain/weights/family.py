"""Kernel readers: the contract of a method that describes the kernels of convolutions by a few figures."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.weights.kernel_layers import KernelLayer, layers_hash, paired
from intaglio.explain.weights.result import KernelReadings, ReadLayer
from intaglio.randomness import generator
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

KIND = "layers"
FEW = 64
"""Kernels of a layer below which its figures are said to be of few."""
Kernels = Float[Tensor, "o i kh kw"]


@dataclass(frozen=True, kw_only=True)
class KernelReader(ABC):
    """A way to describe the kernels of a layer, beside random kernels of the same layer's shape.

    Random ones are drawn from a normal distribution with the layer's own standard deviation.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The main figure in words, as the end of a sentence that begins "It is"."""
    shift_reading: ClassVar[str]
    """The shift in words, as the end of a sentence that begins "The shift is"."""
    measured: ClassVar[tuple[str, ...]]
    """Names of the figures, the main one first."""

    draws: int = 10
    """Random layers that the main figure is compared with, 2 to 1,000."""
    seed: int = 0
    """Seed of what is drawn, from 0."""

    def __post_init__(self) -> None:
        require(2 <= self.draws <= 1000, f"draws must be 2 to 1000, not {self.draws}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def figures(self, kernels: Kernels) -> Mapping[str, float]:
        """The figures of a layer, by the names of `measured`."""

    @abstractmethod
    def shift(self, kernels: Kernels, others: Kernels) -> float:
        """Distance of two layers of one shape, 0 for the same kernels."""

    @abstractmethod
    def verdict(self, kernels: Kernels, figures: Mapping[str, float], chance: Sequence[float]) -> str:
        """The layer in one word, such as random; `chance` has the main figure of random layers."""

    def main(self, kernels: Kernels) -> float:
        """The main figure alone."""
        return self.figures(kernels)[self.measured[0]]

    def __call__(
        self, layers: Sequence[KernelLayer], against: Sequence[KernelLayer] | None = None, *, run: Run = Run.none()
    ) -> KernelReadings:
        """The figures of each layer.

        Args:
            layers: of the network.
            against: of another network of the same build, to measure the shift of each layer from; None measures none.
            run: progress, records and warnings; a killed call goes on after the last layer.

        Raises:
            BadInput: where the two networks are not of one build.
        """
        others = None if against is None else paired(layers, against)
        key = digest([repr(self), layers_hash(layers), None if others is None else layers_hash(others)])
        known = {name: one for name, one in run.recorded(KIND).items() if one.get("key") == key}
        with run.progress(len(layers), "layers", sum(one.name in known for one in layers)) as progress:
            for k, one in enumerate(layers):
                if one.name not in known:
                    known[one.name] = {"key": key, **self._read(one, None if others is None else others[k])}
                    run.record(KIND, one.name, known[one.name])
                    progress.advance()
        read = tuple(ReadLayer.of(known[one.name]) for one in layers)
        few = [one.name for one in read if one.kernels < FEW]
        if few:
            run.warn(
                f"{len(few)} of {len(read)} layers have fewer than {FEW} kernels, whose figures say little: "
                f"{', '.join(few[:5])}"
            )
        return KernelReadings(self.name, self.reading, self.shift_reading, self.measured, read)

    def _read(self, layer: KernelLayer, other: KernelLayer | None) -> dict[str, Any]:
        kernels = layer.kernels
        figures = {name: float(value) for name, value in self.figures(kernels).items()}
        chance = [self.main(one) for one in self._random(kernels)]
        return {
            "name": layer.name,
            "kernels": kernels.shape[0] * kernels.shape[1],
            "size": f"{kernels.shape[2]}x{kernels.shape[3]}",
            "figures": [figures[name] for name in self.measured],
            "chance": sum(chance) / len(chance),
            "verdict": self.verdict(kernels, figures, chance),
            "shift": None if other is None else float(self.shift(kernels, other.kernels)),
        }

    def _random(self, kernels: Kernels) -> list[Kernels]:
        """Kernels of the same shape and standard deviation, a few times."""
        scale = kernels.std(correction=0)
        return [
            scale * torch.randn(kernels.shape, generator=generator(self.seed, "kernels", k, *kernels.shape))
            for k in range(self.draws)
        ]
