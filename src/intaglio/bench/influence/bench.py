"""`intaglio bench influence`: predicted effects of removed pictures beside models that were trained without them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.audit.influence.family import Influence
from intaglio.bench.influence.figures import TRUTHS, TUNED, figures_of, table_of
from intaglio.bench.influence.retrained import RetrainedLosses, Retraining, asked
from intaglio.bench.kit.methods import default_methods
from intaglio.denoising.examples import Examples
from intaglio.errors import BadInput
from intaglio.files import file_hash
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.verbs import VERBS

GROUPS = ("members", "holdouts", "drawn")
QUICK_QUERIES = 8
"""Queries of each group with --quick."""
DAMPINGS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of rows with a damping that acts on stored gradients."""


@dataclass(frozen=True, kw_only=True)
class InfluenceBench:
    """Every influence beside models trained again: LoRAs tuned on halves of forty pictures.

    The pictures are members of four sets.

    `lds` is the mean over queries of the rank correlation, over half subsets of odd numbers, of the summed influences
    of the removed members with the loss that a model without them has; its interval is of 95%, over queries.
    `reliability` is the same of one seed's losses with the next seed's, and `share` is lds over its square root, the
    most that a predictor can reach. `rise` is the mean loss under the models that lack three or four of the four
    members that a row names first, less that under models that lack one or none, in standard deviations of the loss
    over models. `loo` is the correlation with the exact rise of the loss when one member alone is removed, where the
    file has such models. Rows `... tuned` have the damping that does best on the subsets of even numbers. `datamodels`
    is a lasso on those, the ceiling; `exact` sums the rises of single removals. Gradients are by the layers that the
    LoRA changes. Queries: members, as many pictures of the same sets that no model saw, and pictures drawn by the model
    of all members.
    """

    quick: bool = False
    """Eight queries of each group; minutes."""
    rows: tuple[str, ...] = ()
    """Methods to measure, datamodels and exact among them; none takes all."""
    losses: Path | None = None
    """Losses of retrained models as `recipes/emoji64/retrain_subsets.py` writes them; none takes those that ship."""
    seed: int = 0
    """Of the methods; the model that they ask is trained by seed 0."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        known = (*VERBS["audit influence"].methods, *TRUTHS)
        if unknown := [name for name in self.rows if name not in known]:
            raise ValueError(f"rows has no method {unknown[0]!r}; choose from: {', '.join(known)}")
        if self.losses is not None and not self.losses.is_file():
            raise BadInput(f"{self.losses} does not exist; check the path of --losses")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row and group under `rows`."""
        base, path = load_model(testbed.base_path(), device=self.device), self._path
        settings = {
            "quick": self.quick,
            "methods": {name: asdict(method) for name, method in self._methods.items()},
            "rows": self.rows,
        }
        inputs = {"model": {"path": "testbed", "sha256": base.fingerprint}}
        inputs["losses"] = {"path": str(self.losses or "testbed"), "sha256": file_hash(path)}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "influence", settings, inputs, **about) as run:
            if run.status != "done":
                truth = RetrainedLosses.load(path)
                groups = self.groups(truth)
                self._measure(run, base, truth, groups)
                truths = [name for name in TRUTHS if not self.rows or name in self.rows]
                run.finish(figures_of(run, truth, groups, truths))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        return table_of(figures)

    def groups(self, truth: RetrainedLosses) -> dict[str, list[int]]:
        """Columns of the losses that are asked about, by group of queries."""
        members, drawn = truth.kept.shape[1], len(truth.drawn)
        every = np.split(np.arange(2 * members + drawn), [members, 2 * members])
        few = QUICK_QUERIES if self.quick else 2 * members + drawn
        return {
            name: some[:: max(1, len(some) // few)][:few].tolist() for name, some in zip(GROUPS, every, strict=True)
        }

    @property
    def _path(self) -> Path:
        return self.losses or testbed.retrained_path()

    @cached_property
    def _methods(self) -> dict[str, Influence]:
        """The methods by row, by the layers that the models' LoRA changes."""
        found = default_methods("audit influence", seed=self.seed, weights="layers")
        return {name: method for name, method in found.items() if not self.rows or name in self.rows}

    def _variants(self) -> dict[str, Influence]:
        """The rows to record: each method, and each damping of those that have one for stored gradients."""
        found = dict(self._methods)
        for name, method in self._methods.items():
            if "damping" in getattr(method, "afterwards", ()) and hasattr(method, "damping"):
                found |= {f"{name} {TUNED} {share:g}": _damped(method, share) for share in DAMPINGS}
        return found

    def _measure(
        self, run: Run, base: LatentDiffusion, truth: RetrainedLosses, groups: Mapping[str, Sequence[int]]
    ) -> None:
        """The influences of every row, recorded as they are known."""
        left = {name: method for name, method in self._variants().items() if name not in run.recorded("tau")}
        if not left:
            return
        model = Retraining("full", 0, 0).model(base)
        everyone = asked(model, truth.drawn_images)
        train = _some(everyone, range(truth.kept.shape[1]))
        queries = _some(everyone, [place for group in groups.values() for place in group])
        for name, method in left.items():
            began = time.monotonic()
            tau = method(model, train, queries, run=run).tau
            calls = method.calls().times(len({*train.asked, *queries.asked})) + method.training_calls().times(
                len(train)
            )
            known = {"seconds": time.monotonic() - began, "calls": calls.cost, "role": method.role}
            run.record("tau", name, {"tau": tau.tolist(), **known})


def _damped(method: Any, share: float) -> Influence:
    return replace(method, damping=share)


def _some(examples: Examples, places: Sequence[int] | range) -> Examples:
    chosen = list(places)
    return Examples(
        examples.images[chosen], tuple(examples.prompts[place] for place in chosen), examples.latents[chosen]
    )
