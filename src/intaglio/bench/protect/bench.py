"""`intaglio bench protect`: every protection at one budget and as many gradients, imitated after each purifier."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.bench.kit.few_shot_bench import FewShotBench
from intaglio.bench.kit.methods import default_methods
from intaglio.bench.kit.suspects import PAPER, PROMPT, TUNERS, Tuner
from intaglio.bench.protect.plain_loop import plain_advdm
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.models import testbed
from intaglio.protect.budget import Allowance
from intaglio.protect.descent import Group, ProtectionWork
from intaglio.protect.family import Protector
from intaglio.protect.imitation import Imitator
from intaglio.protect.methods.advdm import AdvDM
from intaglio.protect.originals import Original
from intaglio.protect.protection import protect
from intaglio.protect.purifiers import PURIFIERS
from intaglio.protect.surrogate import Surrogate
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

CLEAN = "clean"
EVALUATIONS = 100
"""Gradients by the latents that each method takes of a picture, or by the pixels where it takes no others."""
TUNING_STEPS = 250
SETS, QUICK_SETS = 4, 1
SEEDS, QUICK_SEEDS = 3, 1
USED, QUICK_USED = ("none", "jpeg-75", "jpeg-50", "resize", "blur", "noise", "tv", "diffuse"), ("none", "jpeg-75")
"""Purifiers."""
TIMED = 4
"""Pictures that the speed beside the plain loop is measured on (1 of them by the plain loop itself)."""


@dataclass(frozen=True, kw_only=True)
class ProtectBench(FewShotBench):
    """Every protection on the same pictures, imitated by fine-tunes after each purifier.

    All methods have one budget and as many gradients. The embedded base is both surrogate and imitator's base, the
    easiest case for a protection; sets are imitated by DreamBooth and by LoRA in turns, with equal seeds for clean and
    protected pictures. Net protection is the unlikeness of what the fine-tunes draw, protected less clean. AdvDM is
    timed beside the plain published loop with as many gradients.
    """

    quick: bool = False
    """One set, one seed, two purifiers: some five minutes."""
    sets: tuple[str, ...] = ()
    """Few-shot sets to protect, by turns imitated by DreamBooth and by LoRA; none takes four (one with --quick)."""
    budget: float = 16.0
    """Grey levels of 255, in 0..64."""
    seeds: int | None = None
    """Fine-tunes of each kind; none takes 3 (1 with --quick)."""
    purifiers: tuple[str, ...] = ()
    """Ways to clean the pictures; none takes eight (none and jpeg-75 with --quick)."""
    drawn: int = 20
    """Pictures drawn by each fine-tune."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds is not None and self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, not {self.seeds}")
        if self.drawn < 1:
            raise ValueError(f"drawn must be at least 1, not {self.drawn}")
        if unknown := [name for name in self.purifiers if name not in PURIFIERS]:
            raise ValueError(f"purifiers has no {unknown[0]!r}; choose from: {', '.join(PURIFIERS)}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; the figures by name, and beside them those of every method under `by_method`."""
        settings = {
            "sets": self._sets(),
            "seeds": self._seeds(),
            "purifiers": self._purifiers(),
            "drawn": self.drawn,
            "tuning_steps": TUNING_STEPS,
            "methods": {name: asdict(method) for name, method in self._methods().items()},
        }
        about = {"seed": 0, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "protect", settings, self.inputs(), **about) as run:
            if run.status != "done":
                self._measure(run)
                run.finish(self._figures(run))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The figures as a table, a line a method."""
        lines = [f"{name:>28}  {_shown(value)}" for name, value in figures.items() if not isinstance(value, dict)]
        columns = ("net_protection_none", "net_protection_worst", "worst_purifier", "psnr", "ssim", "seconds_per_image")
        lines += ["", "".join(f"{head:>22}" for head in ("", *columns))]
        for name, values in figures["by_method"].items():
            lines.append("".join(f"{_shown(cell):>22}" for cell in (name, *(values[column] for column in columns))))
        return "\n".join(lines)

    def _sets(self) -> tuple[str, ...]:
        known = testbed.sets()
        if unknown := [name for name in self.sets if name not in known]:
            raise BadInput(f"there is no few-shot set called {unknown[0]!r}; choose from: {', '.join(known)}")
        count = QUICK_SETS if self.quick else SETS
        return self.sets or tuple(known[place * len(known) // count] for place in range(count))

    def _seeds(self) -> int:
        return self.seeds or (QUICK_SEEDS if self.quick else SEEDS)

    def _purifiers(self) -> tuple[str, ...]:
        return self.purifiers or (QUICK_USED if self.quick else USED)

    def _methods(self) -> dict[str, Protector]:
        """Every method with the budget, and as many steps as its samples leave of the gradients."""
        found = default_methods("protect", seed=0, budget=self.budget, batch=10)
        return {name: replace(method, steps=EVALUATIONS // _samples(method)) for name, method in found.items()}

    def _jobs(self) -> list["_Job"]:
        turns: list[tuple[str, Tuner]] = [
            (name, TUNERS[place % len(TUNERS)]) for place, name in enumerate(self._sets())
        ]
        arms = (CLEAN, *self._methods())
        return [_Job(name, tuner, arm) for name, tuner in turns for arm in arms]

    def _measure(self, run: Run) -> None:
        jobs = self._jobs()
        left = [job for job in jobs if job.key not in run.recorded("arm")]
        with run.progress(len(jobs) + 1, "arms", len(jobs) - len(left)) as progress:
            # The timing first and alone: beside other work the two would not be timed alike.
            if "advdm" not in run.recorded("timing"):
                run.record("timing", "advdm", self._beside_plain_loop())
            progress.advance()
            for job, found in fan_out(self._done, left, self.workers or workers_for(self.device)):
                run.record("arm", job.key, found)
                progress.advance()

    def _done(self, job: "_Job") -> dict[str, Any]:
        """Unlikeness by purifier and seed, and what was changed."""
        originals = testbed.few_shot(job.subject).members
        pixels, about = originals.pixels, {}
        if job.arm != CLEAN:
            pixels, about = self._protected(self._methods()[job.arm], originals)
        imitator = Imitator(
            self.base,
            replace(PAPER.tuner(job.tuner, 0), steps=TUNING_STEPS),
            PROMPT,
            embedded_encoder(self.device),
            drawn=self.drawn,
        )
        unlikeness = {}
        for name in self._purifiers():
            for seed in range(self._seeds()):
                cleaned = ImageSet.from_pixels(PURIFIERS[name].clean(pixels, self.base, seed), originals.names)
                unlikeness[f"{name}/{seed}"] = imitator.unlikeness(imitator.imitations(cleaned, seed), originals)
        return {"set": job.subject, "tuner": job.tuner, "arm": job.arm, "unlikeness": unlikeness, **about}

    def _protected(self, method: Protector, originals: ImageSet) -> tuple[torch.Tensor, dict[str, float]]:
        """Protected pictures as they are read from their files, and what that took."""
        levels = to_uint8(originals.pixels).permute(0, 2, 3, 1).numpy()
        given = [Original(f"{k:03d}.png", one) for k, one in enumerate(levels)]
        with TemporaryDirectory() as folder:
            began = time.perf_counter()
            result = protect(method, self.base, given, Path(folder), prompt=PROMPT)
            seconds = (time.perf_counter() - began) / len(given)
            found = ImageSet.load(Path(folder), originals.pixels.shape[-1])
        figures = result.figures()
        kept = {key: figures[key] for key in ("psnr", "ssim", "largest_difference", "gain")}
        return found.pixels, {**kept, "seconds_per_image": seconds}

    def _beside_plain_loop(self) -> dict[str, float]:
        """Seconds a picture of the plain loop and of AdvDM, with as many gradients, and the gain in loss of both."""
        pictures = testbed.few_shot(self._sets()[0]).members[:TIMED]
        method = next(one for one in self._methods().values() if isinstance(one, AdvDM))
        began = time.perf_counter()
        plain = plain_advdm(self.base, pictures.pixels[:1], PROMPT, budget=self.budget, step=1.0, steps=EVALUATIONS)
        plain_s = time.perf_counter() - began
        began = time.perf_counter()
        ours, _ = self._protected(method, pictures)
        seconds = (time.perf_counter() - began) / len(pictures)
        first = pictures[:1]
        gains = [_loss_gain(self, method, first, changed) for changed in (plain, ours[:1])]
        return {"plain_seconds": plain_s, "seconds": seconds, "plain_gain": gains[0], "gain": gains[1]}

    def _figures(self, run: Run) -> dict[str, Any]:
        arms, timing = list(run.recorded("arm").values()), run.recorded("timing")["advdm"]
        clean = {one["set"]: one["unlikeness"] for one in arms if one["arm"] == CLEAN}
        by_method = {
            name: _of_method([one for one in arms if one["arm"] == name], clean, self._purifiers())
            for name in self._methods()
        }
        flat = {
            f"{figure}_{name}": values[figure]
            for name, values in by_method.items()
            for figure in ("net_protection_none", "net_protection_worst")
        }
        return {
            **flat,
            "noise_of_clean": _noise(clean, self._seeds()),
            "advdm_speedup_vs_reference": timing["plain_seconds"] / timing["seconds"],
            "advdm_gain_vs_reference": timing["gain"] / timing["plain_gain"],
            "budget": self.budget,
            "sets": list(self._sets()),
            "seeds": self._seeds(),
            "purifiers": list(self._purifiers()),
            "seconds": run.seconds,
            "by_method": by_method,
        }


@dataclass(frozen=True)
class _Job:
    """One set, imitated from clean pictures or from those of one method."""

    subject: str
    tuner: Tuner
    arm: str

    @property
    def key(self) -> str:
        return f"{self.subject}/{self.arm}"


def _samples(method: Protector) -> int:
    """Gradients that a step takes of a picture."""
    return getattr(method, "samples", 1) if "samples" in {field.name for field in fields(method)} else 1


def _loss_gain(bench: ProtectBench, method: Protector, clean: ImageSet, changed: torch.Tensor) -> float:
    """Rise of the objective of AdvDM on fixed timesteps and noise."""
    box = Allowance(clean.pixels, torch.ones_like(clean.pixels[:, :1]), bench.budget)
    with Surrogate.of(bench.base, PROMPT, micro_batch=method.micro_batch) as surrogate:
        work = ProtectionWork(method, surrogate, None, {}, {}, lambda name, levels: None)
        before, after = (work.checked(Group(clean, box), c) for c in (0 * clean.pixels, changed - clean.pixels))
    return float((after - before).mean())


def _of_method(
    arms: Sequence[Mapping[str, Any]], clean: Mapping[str, Mapping[str, float]], purifiers: Sequence[str]
) -> dict[str, Any]:
    """Means over sets and seeds of one method's arms."""
    net = {
        name: statistics.fmean(
            value - clean[one["set"]][key]
            for one in arms
            for key, value in one["unlikeness"].items()
            if key.rpartition("/")[0] == name
        )
        for name in purifiers
    }
    least = min(net, key=lambda name: net[name])
    means = {key: statistics.fmean(one[key] for one in arms) for key in ("psnr", "ssim", "seconds_per_image", "gain")}
    return {
        "net_protection_none": net.get("none"),
        "net_protection_worst": net[least],
        "worst_purifier": least,
        "largest_difference": max(one["largest_difference"] for one in arms),
        **means,
        "net_by_purifier": net,
    }


def _noise(clean: Mapping[str, Mapping[str, float]], seeds: int) -> float | None:
    """Mean standard deviation over seeds of the unlikeness of clean fine-tunes; None for one seed."""
    if seeds < 2:
        return None
    groups: dict[tuple[str, str], list[float]] = {}
    for subject, values in clean.items():
        for key, value in values.items():
            groups.setdefault((subject, key.rpartition("/")[0]), []).append(value)
    return statistics.fmean(statistics.stdev(group) for group in groups.values())


def _shown(value: Any) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float)
        else ", ".join(map(str, value))
        if isinstance(value, list)
        else str(value)
    )
