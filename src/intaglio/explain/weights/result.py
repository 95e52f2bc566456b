"""The figures of a network's kernels, layer by layer; stored and read again.

`kernels.json` in the run's folder has all of it, `kernels.csv` a line a layer.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.runs.plain_json import to_json
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv

FILE, TABLE = "kernels.json", "kernels.csv"


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
class KernelReadings(ResultTable):
    """Kernels of a network by one method, in the order of its layers."""

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

    def save(self, folder: Path) -> None:
        """Writes `kernels.csv` and `kernels.json`, each atomically."""
        atomic_write(folder / TABLE, rows_csv(self.rows(), self.columns))
        atomic_write(folder / FILE, to_json(asdict(self), indent=2))

    @classmethod
    def load(cls, folder: Path) -> "KernelReadings | None":
        """The result stored in a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        path = Path(folder) / FILE
        if not path.exists():
            return None
        stored = Fields.read(path, "delete it, and the same command makes it again").values
        try:
            measured = tuple(map(str, stored["measured"]))
            layers = tuple(ReadLayer.of(one) for one in stored["layers"])
            if not layers or any(len(one.figures) != len(measured) for one in layers):
                raise ValueError("the figures do not fit the layers")
            method, reading, shift = (str(stored[name]) for name in ("method", "reading", "shift_reading"))
            return cls(method, reading, shift, measured, layers)
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{path} is damaged ({error}); delete it, and the same command makes it again") from error
