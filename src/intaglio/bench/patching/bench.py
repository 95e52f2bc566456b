"""`intaglio bench patching`: estimated effects of components, set beside those that are measured one by one."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.stats import rankdata

from intaglio.bench.kit.methods import default_methods
from intaglio.errors import BadInput
from intaglio.explain.components.exact_checks import exact_effects
from intaglio.explain.components.family import ComponentPatcher
from intaglio.explain.components.patch_points import PatchPoint
from intaglio.explain.components.result import correlations
from intaglio.metrics.statistics.interval import interval
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.printable import aligned
from intaglio.randomness import generator
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain components"
TRUTH = "activation-patching"
"""The method that measures, which the others are compared with."""
MEASURED = {"feed-forward": 192, "attention": 96, "resnet": 96}
"""Channels of each kind of branch that are measured for a pair, drawn at random."""
FIRST = "feed-forward"
"""The kind whose error leads."""
QUICK_PAIRS = 12
ROWS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class PatchingBench:
    """Estimated effects of a denoiser's components: their correlation with effects that are measured.

    Pairs of prompts are captions of the base's own training pictures, `NAME, ARTIST style`, and in turn the same with
    another name, with another artist, and the empty prompt; each pair has a picture and a noise level of its own. Of
    each pair some channels, drawn at random, are patched one by one. `error` is 1 - Pearson's correlation of the
    estimates with these, over channels of all branches of a kind, a mean over pairs with its 95% interval by resampling
    pairs; `rank_error` the same of ranks. `passes` are rows through the denoiser and back that one estimate of all
    feed-forward channels takes; measuring them takes one a channel.
    """

    explain_figures: ClassVar[tuple[str, ...]] = ("relp_error",)
    """Headline figures that `bench explain` tells too."""

    quick: bool = False
    """12 pairs: some minutes."""
    rows: tuple[str, ...] = ()
    """Methods to measure, such as relp; none takes all."""
    pairs: int = 60
    """Pairs of prompts, at least 2, with --quick at most 12."""
    seed: int = 0
    """Of pictures and drawn channels, from 0."""
    device: str = "cpu"
    """Where the model computes, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.pairs < 2:
            raise ValueError(f"pairs must be at least 2, not {self.pairs}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        count = min(self.pairs, QUICK_PAIRS) if self.quick else self.pairs
        every: dict[str, ComponentPatcher] = default_methods(VERB, seed=self.seed, draws=count)
        every = {name: one for name, one in every.items() if name != TRUTH}
        if unknown := [name for name in self.rows if name not in every]:
            raise BadInput(f"there is no row called {unknown[0]!r}; choose from: {', '.join(every)}")
        methods = {name: one for name, one in every.items() if not self.rows or name in self.rows}
        pairs = prompt_pairs([str(one) for one in testbed.real_pictures().captions or ()], count)
        model = load_model(testbed.base_path(), device=self.device)
        settings = {"pairs": [list(one) for one in pairs], "methods": {n: asdict(one) for n, one in methods.items()}}
        inputs = {"model": {"path": "testbed", "sha256": model.fingerprint}}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "patching", settings, inputs, **about) as run:
            if run.status != "done":
                self._measure(methods, model, pairs, run)
                run.finish(figures_of(run.recorded("pair"), methods, run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("row", *(f"error, {kind}" for kind in MEASURED), "error of ranks", "passes", "seconds")
        lines = [
            (
                name,
                *("{:.3f} ({:.3f} to {:.3f})".format(one[kind], *one[f"{kind}_interval"]) for kind in MEASURED),
                f"{one['rank_error']:.3f}",
                f"{one['passes']:,} of {figures['exact_passes']:,}",
                f"{one['seconds']:.2f}",
            )
            for name, one in figures["rows"].items()
        ]
        return aligned([head, *lines])

    def _measure(
        self,
        methods: Mapping[str, ComponentPatcher],
        model: LatentDiffusion,
        pairs: Sequence[tuple[str, str]],
        run: Run,
    ) -> None:
        left = [k for k in range(len(pairs)) if str(k) not in run.recorded("pair")]
        first = next(iter(methods.values()))
        draws = first.planned_draws(model)
        with run.progress(len(pairs), "pairs", len(pairs) - len(left)) as progress, torch.no_grad(), model.frozen():
            for k in left:
                point = first.point(model, *pairs[k], draws[k])
                run.record("pair", str(k), measured(methods, point, generator(self.seed, "measured channels", k)))
                progress.advance()


def prompt_pairs(captions: Sequence[str], count: int) -> list[tuple[str, str]]:
    """Clean and corrupted prompts: in turn with another name, with another artist, and the empty prompt."""
    texts = [(name, style) for name, _, style in (one.rpartition(", ") for one in captions)]
    styles = sorted({style for _, style in texts})
    step, pairs = max(1, len(texts) // count), []
    for k in range(count):
        place = k * step % len(texts)
        name, style = texts[place]
        others = [one for one, _ in texts[place:] + texts[:place] if one != name]
        another = styles[(styles.index(style) + 1) % len(styles)]
        corrupted = (f"{others[0]}, {style}", f"{name}, {another}", "")[k % 3]
        pairs.append((f"{name}, {style}", corrupted))
    return pairs


def measured(
    methods: Mapping[str, ComponentPatcher], point: PatchPoint, draw: torch.Generator
) -> dict[str, dict[str, float]]:
    """Pearson's correlation by kind, that of ranks, and the seconds of each method, of one pair."""
    kinds = np.repeat([one.kind for one in point.branches], point.channels)
    chosen = [_drawn(np.flatnonzero(kinds == kind), count, draw) for kind, count in MEASURED.items()]
    numbers = torch.from_numpy(np.concatenate(chosen))
    exact = exact_effects(point, numbers, point.channels, ROWS_AT_ONCE).numpy()
    ends = np.cumsum([len(one) for one in chosen])[:-1]
    found = {}
    for name, method in methods.items():
        began = time.perf_counter()
        own = torch.cat(method.effects(point, range(len(point.branches))))[numbers].numpy()
        seconds = time.perf_counter() - began  # effects are on the CPU, so that a device has finished
        parts = list(zip(np.split(own, ends), np.split(exact, ends), strict=True))
        told = {kind: _correlation(*part) for kind, part in zip(MEASURED, parts, strict=True)}
        ranks = _correlation(*(rankdata(one) for one in parts[list(MEASURED).index(FIRST)]))
        found[name] = {**told, "ranks": ranks, "seconds": seconds}
    counts = [size for one, size in zip(point.branches, point.channels, strict=True) if one.kind == FIRST]
    return {**found, "point": {"distance": point.distance, "branches": len(counts), "channels": sum(counts)}}


def _drawn(places: np.ndarray, count: int, draw: torch.Generator) -> np.ndarray:
    return places[torch.randperm(len(places), generator=draw)[:count].numpy()]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(correlations(one[None].astype(float), other[None].astype(float))[0])


def figures_of(
    recorded: Mapping[str, Mapping[str, Mapping[str, float]]], methods: Mapping[str, ComponentPatcher], seconds: float
) -> dict[str, Any]:
    """Headline figures, then every row."""
    pairs = [recorded[str(k)] for k in range(len(recorded))]
    points = [one["point"] for one in pairs]
    sizes = [int(points[0]["channels"] // points[0]["branches"])] * int(points[0]["branches"])
    rows = {name: {**_row([one[name] for one in pairs]), "passes": methods[name].passes(sizes)} for name in methods}
    headline = {f"{name.replace('-', '_')}_error": one[FIRST] for name, one in rows.items()}
    if {"relp", "attribution-patching"} <= set(rows):
        gaps = np.array([one["relp"][FIRST] - one["attribution-patching"][FIRST] for one in pairs])
        headline |= {"relp_gain": float(gaps.mean()), "relp_gain_interval": _bounds(gaps)}
    return {
        **headline,
        "pairs": len(pairs),
        "distance": float(np.mean([one["distance"] for one in points])),
        "exact_passes": 2 + int(points[0]["channels"]),
        "seconds": seconds,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def _row(found: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Means over pairs, errors with their intervals."""
    row: dict[str, Any] = {"rank_error": 1 - float(np.mean([one["ranks"] for one in found]))}
    row["seconds"] = float(np.mean([one["seconds"] for one in found]))
    for kind in MEASURED:
        errors = 1 - np.array([one[kind] for one in found])
        row |= {kind: float(errors.mean()), f"{kind}_interval": _bounds(errors)}
    return row


def _bounds(values: np.ndarray) -> list[float]:
    return list(interval(lambda drawn: drawn.mean(-1), [values]))
