"""The figures of a network's kernels, layer by layer; stored and read again.

`kernels.json` in the run's folder has all of it, `kernels.csv` a line a layer.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from intaglio.runs.json_table import JsonTable


@dataclass(frozen=True)
class ReadLayer:
    """One layer."""

    name: str
    kernels: int
    """Pairs of an output and an input channel."""
    size: str
    """Height and width of a kernel."""
    figures: tuple[float, ...]
    """In the order of the result's `measured`."""
    chance: float
    """The main figure of random layers, a mean."""
    verdict: str
    """The layer in one word."""
    shift: float | None
    """Distance from the same layer of the other network; None without one."""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "ReadLayer":
        """The inverse of `asdict`; further keys are passed over."""
        shift = stored["shift"]
        return cls(
            str(stored["name"]), int(stored["kernels"]), str(stored["size"]), tuple(map(float, stored["figures"])),
            float(stored["chance"]), str(stored["verdict"]), None if shift is None else float(shift),
        )  # fmt: skip


@dataclass(frozen=True)
class KernelReadings(JsonTable):
    """Kernels of a network by one method, in the order of its layers."""

    file: ClassVar[str] = "kernels.json"
    table: ClassVar[str] = "kernels.csv"

    method: str
    reading: str
    shift_reading: str
    measured: tuple[str, ...]
    """Names of the figures, the main one first."""
    layers: tuple[ReadLayer, ...]

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Kernels by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return ["layer", "kernels", "size", *self.measured, "chance", "verdict", "shift"]

    @property
    def shifted(self) -> bool:
        """Whether another network was looked at beside it."""
        return any(one.shift is not None for one in self.layers)

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        said = Counter(one.verdict for one in self.layers)
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(said.items(), key=lambda one: -one[1]))
        sentence = f"{len(self.layers)} layers of {sum(one.kernels for one in self.layers):,} kernels: {told}"
        if not self.shifted:
            return f"{sentence}."
        most = max(self.layers, key=lambda one: one.shift or 0.0)
        return f"{sentence}; {most.name} is shifted most ({most.shift:.3g})."

    def shown(self, most: int) -> tuple[str, ...]:
        """Names of the layers that are looked at first: those of the largest shifts, or else the ends of the range."""
        if self.shifted:
            ranked = sorted(self.layers, key=lambda one: -(one.shift or 0.0))
            return tuple(one.name for one in ranked[:most])
        ranked = sorted(self.layers, key=lambda one: one.figures[0])
        ends = ranked if len(ranked) <= most else [*ranked[: most // 2], *ranked[-(most - most // 2) :]]
        return tuple(one.name for one in ends)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a layer; the keys are `columns`."""
        return [
            {
                "layer": one.name,
                "kernels": one.kernels,
                "size": one.size,
                **dict(zip(self.measured, one.figures, strict=True)),
                "chance": one.chance,
                "verdict": one.verdict,
                "shift": one.shift,
            }
            for one in self.layers
        ]

    def figures(self) -> dict[str, Any]:
        """Counts by verdict; means over layers, each weighed alike."""
        count = len(self.layers)
        means = {name: sum(one.figures[k] for one in self.layers) / count for k, name in enumerate(self.measured)}
        shifts = [one.shift for one in self.layers if one.shift is not None]
        return {
            "layers": count,
            "kernels": sum(one.kernels for one in self.layers),
            "verdicts": dict(sorted(Counter(one.verdict for one in self.layers).items())),
            **{f"mean_{name}": value for name, value in means.items()},
            "mean_chance": sum(one.chance for one in self.layers) / count,
            "mean_shift": sum(shifts) / len(shifts) if shifts else None,
        }

    @classmethod
    def _of(cls, stored: Mapping[str, Any]) -> "KernelReadings":
        measured = tuple(map(str, stored["measured"]))
        layers = tuple(ReadLayer.of(one) for one in stored["layers"])
        if not layers or any(len(one.figures) != len(measured) for one in layers):
            raise ValueError("the figures do not fit the layers")
        method, reading, shift = (str(stored[name]) for name in ("method", "reading", "shift_reading"))
        return cls(method, reading, shift, measured, layers)
