"""`intaglio bench models`: each family beside diffusers and its plan of memory; audits on a U-Net and a flow model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from intaglio.audit.membership.family import Authenticator
from intaglio.bench.kit.methods import one_prompt_audits
from intaglio.bench.models.random_models.wider import WIDER
from intaglio.bench.models.testbed_audits import TESTBEDS, audited
from intaglio.errors import BadInput
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan

SETS, QUICK_SETS = 3, 1
QUICK_METHODS = ("loss-gap", "pia", "secmi")
QUICK_PICTURES = 5
LEFT_OUT = ("hands", "mammals")
"""Sets on which settings were tried."""


@dataclass(frozen=True, kw_only=True)
class ModelsBench:
    """Each family of models beside diffusers, and what audits find on a U-Net and a transformer.

    Families are random models of a few million weights on pictures of 16 pixels, one a family: largest difference of
    clean latents from diffusers' own pipeline after five steps, with guidance 4 and without, over the largest entry
    where that is above 1; seconds of a guided step of four pictures here and in diffusers, by turns; seconds of a step
    of `finetune lora` on two pictures; the memory its plan said over the peak of torch's allocator. Sizes are those of
    a test, so seconds tell what is lost around the sums, not the speed of published models.

    Audits are those of `authenticate` with their defaults, on a LoRA of ten pictures in the paper regime of `bench
    authenticate`, the same sets and seeds on the embedded U-Net and the embedded flow-matching transformer.
    """

    quick: bool = False
    """One timing each, one set, five pictures, and the three audits without gradients; minutes."""
    families: tuple[str, ...] = ()
    """Kinds of models, such as sd3, flux1-dev or zimage; none takes one of each family."""
    sets: tuple[str, ...] = ()
    """Few-shot sets of the audits; none takes three (one with --quick)."""
    repeats: int | None = None
    """Timings of each, 1 or more; none takes 5 (1 with --quick)."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    seed: int = 0
    """Of random weights, fine-tunes and audits."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.repeats is not None and self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, not {self.repeats}")
        if unknown := [name for name in self.families if name not in WIDER]:
            raise BadInput(f"there is no family called {unknown[0]!r} here; choose from: {', '.join(WIDER)}")
        if unknown := [name for name in self.sets if name not in testbed.sets()]:
            raise BadInput(f"there is no few-shot set called {unknown[0]!r}; choose from: {', '.join(testbed.sets())}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measures; the figures by name, those of each family under `by_family`."""
        settings = {
            "quick": self.quick,
            "families": self._families(),
            "sets": self._sets(),
            "repeats": self._repeats(),
            "methods": {name: asdict(method) for name, method in self._methods().items()},
        }
        inputs = {name: {"path": name, "sha256": load_model(name).fingerprint} for name in TESTBEDS.values()}
        with Run.open(
            self.runs,
            "bench",
            "models",
            settings,
            inputs,
            seed=self.seed,
            device=self.device,
            command=command,
            progress=progress,
        ) as run:
            if run.status != "done":
                self._measure(run)
                run.finish(without_nan(_figures(run)))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """A table of families, and one of audits."""
        return "\n".join([*_family_lines(figures["by_family"]), "", *_audit_lines(figures)])

    def _families(self) -> tuple[str, ...]:
        return self.families or tuple(WIDER)

    def _sets(self) -> tuple[str, ...]:
        known = [name for name in testbed.sets() if name not in LEFT_OUT]
        return self.sets or tuple(known[:: -(-len(known) // SETS)][: QUICK_SETS if self.quick else SETS])

    def _repeats(self) -> int:
        return self.repeats or (1 if self.quick else 5)

    def _methods(self) -> dict[str, Authenticator]:
        found = one_prompt_audits(seed=self.seed)
        return {name: found[name] for name in QUICK_METHODS} if self.quick else found

    def _measure(self, run: Run) -> None:
        from intaglio.bench.models.family_measures import family_figures  # imports diffusers' pipelines, for seconds

        jobs = [("family", kind) for kind in self._families()]
        jobs += [("audit", f"{bed}/{name}") for name in self._sets() for bed in TESTBEDS]
        left = [(part, key) for part, key in jobs if key not in run.recorded(part)]
        with run.progress(len(jobs), "families and audits", len(jobs) - len(left)) as progress:
            for part, key in left:
                if part == "family":
                    found = family_figures(key, seed=self.seed, device=self.device, repeats=self._repeats())
                else:
                    bed, name = key.split("/", 1)
                    pictures = QUICK_PICTURES if self.quick else None
                    about = {"pictures": pictures, "seed": self.seed, "device": self.device}
                    found = audited(bed, name, self._methods(), **about)
                run.record(part, key, found)
                progress.advance()


def _figures(run: Run) -> dict[str, Any]:
    found, audits = run.recorded("family"), list(run.recorded("audit").values())
    families = {kind: found[kind] for kind in WIDER if kind in found}
    ratios = [row["planned_over_peak"] for row in families.values()]
    areas: dict[str, float] = {}
    for bed in TESTBEDS:
        own = [row for row in audits if row["testbed"] == bed]
        for method in own[0]["auc"]:
            areas[f"auc_{bed}_{method}"] = fmean(row["auc"][method] for row in own)
        areas[f"fall_{bed}"] = fmean(row["fall"] for row in own)
        areas[f"fall_of_holdouts_{bed}"] = fmean(row["fall_of_holdouts"] for row in own)
    return {
        "difference": max(row["difference"] for row in families.values()),
        "draw_ratio_lowest": min(row["draw_ratio"] for row in families.values()),
        "draw_ratio_highest": max(row["draw_ratio"] for row in families.values()),
        "planned_over_peak_lowest": min(ratios),
        "planned_over_peak_highest": max(ratios),
        **areas,
        "sets": sorted({row["set"] for row in audits}),
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "by_family": families,
        "by_audit": audits,
    }


def _family_lines(families: Mapping[str, Mapping[str, Any]]) -> list[str]:
    heads = ("kind", "weights", "difference", "s a step", "diffusers'", "ratio", "s to train", "planned / peak")
    lines = ["{:>13} {:>8} {:>10} {:>9} {:>10} {:>6} {:>10} {:>14}".format(*heads)]
    for kind, row in families.items():
        names = ("draw_step_seconds", "diffusers_step_seconds", "draw_ratio", "train_step_seconds")
        own, theirs, ratio, train = (f"{row[name]:.3f}" for name in names)
        size, gap, plan = f"{row['weights'] / 1e6:.1f} M", f"{row['difference']:.1e}", f"{row['planned_over_peak']:.2f}"
        lines.append(f"{kind:>13} {size:>8} {gap:>10} {own:>9} {theirs:>10} {ratio:>6} {train:>10} {plan:>14}")
    return lines


def _audit_lines(figures: Mapping[str, Any]) -> list[str]:
    lines = [f"{'AUC of':>22}  {'U-Net':>6}  {'flow':>6}"]
    methods = [name.removeprefix("auc_unet_") for name in figures if name.startswith("auc_unet_")]
    for method in methods:
        pair = (figures[f"auc_{bed}_{method}"] for bed in TESTBEDS)
        lines.append(f"{method:>22}  " + "  ".join(f"{value:6.3f}" for value in pair))
    for words, key in (("error's fall, members", "fall"), ("on holdouts", "fall_of_holdouts")):
        lines.append(f"{words:>22}  " + "  ".join(f"{figures[f'{key}_{bed}']:6.3f}" for bed in TESTBEDS))
    return lines
