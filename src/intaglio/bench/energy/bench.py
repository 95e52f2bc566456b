"""`intaglio bench energy`: estimates of energy beside measured truth, on simulated devices and on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from intaglio.bench.energy.estimate_scores import Scores, scores_of
from intaglio.bench.energy.machine_cell import MachineCell
from intaglio.bench.energy.pruning_cell import PruningCell, pruning_headlines, pruning_table
from intaglio.bench.energy.simulated_cells import SIMULATED, simulated_cell
from intaglio.bench.kit.methods import default_methods
from intaglio.energy.layers.layer import Step
from intaglio.energy.profile.energy_profile import EnergyProfile
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan

EnergySuite = Literal["simulated", "machine", "pruning"]
SUITES: tuple[EnergySuite, ...] = ("simulated", "machine", "pruning")
QUICK_SUITES: tuple[EnergySuite, ...] = ("simulated", "machine")


@dataclass(frozen=True)
class EnergyBench:
    """Estimates of energy by every method, beside networks of unseen sizes that are measured.

    Simulated devices of known truth: smooth, noisy, with tiles of 32 and 64 channels, with neighbours that save 10% and
    30% of the cheaper one. This machine: its meter of energy, or processor seconds where it has none (a proxy, named in
    every figure); networks like LeNet, plain and residual CNNs, LSTMs, Transformers and U-Nets of random widths in
    training, and the embedded U-Net and decoder. A machine's speed changes while it is measured: the costs of layers
    and networks are divided by those of a small reference window just before and after; `as-read` has the same
    estimates beside the networks' costs as they were read. All methods are given the same profile: THOR and NeuralPower
    its layers, the others its whole networks, which are never those that are predicted. MAPE is the mean of |estimate /
    truth - 1|; `bias` its signed mean; `rank` Spearman's correlation over the networks, which pruning needs;
    `coverage_95` the share of networks within the method's interval.

    Pruning: the embedded model to 70% of its estimated cost of a call, by its layers' estimated energy and as
    baselines by their operations and weights, each trained for the same updates afterwards on the package's pictures by
    the held-out artist; a fifth of these is held out for the errors. The row `unpruned` is the whole model after the
    same training.
    """

    quick: bool = False
    """Two simulated devices, and few small networks on this machine: at most ten minutes."""
    suites: tuple[EnergySuite, ...] = ()
    """Parts of the bench: simulated, machine, pruning; none takes all, with --quick the first two."""
    device: str = "cpu"
    """Device of the suites `machine` and `pruning`, such as cpu or cuda:1."""
    networks: int = 24
    """Networks of unseen sizes on this machine, 5 or more; 12 with --quick."""
    held_out: int = 60
    """Networks of unseen widths on each simulated device, 5 or more."""
    window: float = 0.1
    """Least length of a measurement's window on this machine in s, above 0."""
    seed: int = 0
    """Seed of widths and of simulated noise."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        for name in ("networks", "held_out"):
            if getattr(self, name) < 5:
                raise ValueError(f"{name} must be 5 or more, not {getattr(self, name)}")
        if not 0 < self.window <= 600:
            raise ValueError(f"window must be above 0 and at most 600 s, not {self.window}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measures the suites; figures by name, and those of each device and method under `devices`."""
        settings = {**asdict(self), "runs": None, "suites": list(self._suites)}
        about = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "energy", settings, {}, **about) as run:
            if run.status != "done":
                run.finish(without_nan(self._measured(run)))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """A table for each device: a row for each method."""
        lines = []
        for name, device in figures["devices"].items():
            lines += [f"{name} ({device['unit']}; {device['points']} points, {device['networks']} networks)"]
            lines.append("  method             MAPE   median  bias    rank   in 95%")
            for method, row in device["methods"].items():
                inside = "-" if row["coverage_95"] is None else f"{row['coverage_95']:.0%}"
                lines.append(
                    f"  {method:<17} {row['mape']:>6.1%} {row['median']:>7.1%} {row['bias']:>+7.1%} "
                    f"{row['rank']:>6.2f} {inside:>7}"
                )
        lines += pruning_table(rows) if (rows := figures.get("pruning")) else []
        return "\n".join(lines)

    @property
    def _suites(self) -> tuple[EnergySuite, ...]:
        return self.suites or (QUICK_SUITES if self.quick else SUITES)

    def _measured(self, run: Run) -> dict[str, Any]:
        devices: dict[str, Any] = {}
        if "simulated" in self._suites:
            names = ("smooth", "tiles") if self.quick else tuple(SIMULATED)
            with run.progress(len(names), "simulated devices") as progress:
                for name in names:
                    devices[f"sim-{name}"] = self._judged(*simulated_cell(name, self.held_out, self.seed))
                    progress.advance()
        minutes = None
        if "machine" in self._suites:
            cell = MachineCell(self.device, 12 if self.quick else self.networks, self.window, self.seed, self.quick)
            found = cell.measured(run)
            minutes = found.minutes
            judged = self._judged(found.profile, found.steps, found.truth)
            read = self._judged(found.profile, found.steps, found.as_measured)
            devices[found.name] = judged | {"minutes": minutes}
            devices[f"{found.name}-as-read"] = read
        rows: dict[str, Any] = {}
        if "pruning" in self._suites:
            rows = PruningCell(self.device, self.window, self.seed, self.quick).rows(run)
        headlines = {**_headlines(devices), **pruning_headlines(rows)}
        return {**headlines, "profile_minutes": minutes, "devices": devices, "pruning": rows}

    def _judged(self, profile: EnergyProfile, steps: Sequence[Step], truth: Sequence[float]) -> dict[str, Any]:
        methods: dict[str, Scores] = {}
        for name, method in default_methods("energy estimate", seed=self.seed).items():
            predict = method(profile)
            methods[name] = scores_of([predict(step) for step in steps], truth)
        return {
            "unit": profile.unit,
            "points": sum(len(one.amounts) for one in profile.families),
            "networks": len(truth),
            "methods": {name: scores._asdict() for name, scores in methods.items()},
        }


def _headlines(devices: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the bench's one line; those of what was not asked for are None."""
    simulated = [device for name, device in devices.items() if name.startswith("sim-")]
    found: dict[str, Any] = {}
    for method, key in (("thor", "thor"), ("flops-linear", "flops")):
        found[f"mape_{key}_sim"] = _mean(device["methods"][method]["mape"] for device in simulated)
        fields = (("cpu-seconds", "cpu_seconds"), ("cpu", "cpu_joules"), ("cuda", "gpu"))
        for name, field in [*fields, *((f"{name}-as-read", f"{field}_as_read") for name, field in fields)]:
            device = devices.get(f"machine-{name}")
            found[f"mape_{key}_{field}"] = None if device is None else device["methods"][method]["mape"]
    told = [device for name, device in devices.items() if not name.endswith("as-read")]
    found["coverage_95"] = _mean(device["methods"]["thor"]["coverage_95"] for device in told)
    return found


def _mean(values: Any) -> float | None:
    values = list(values)
    return float(np.mean(values)) if values else None
