"""`intaglio bench protect`: every protection at one budget and as many gradients, imitated after each purifier."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from intaglio.bench.kit.few_shot_bench import FewShotBench
from intaglio.bench.kit.methods import default_methods
from intaglio.bench.kit.suspects import TUNERS, Tuner
from intaglio.bench.protect.figures import CLEAN, mean_of_clean, noise_of_clean, of_arm
from intaglio.bench.protect.imitators import FINE_TUNES, by_encoder, captioned, imitator
from intaglio.bench.protect.speed import beside_plain_loop, protected
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, save_png
from intaglio.metrics.quality import roughness
from intaglio.models import testbed
from intaglio.protect.family import Protector
from intaglio.protect.methods.advdm import AdvDM
from intaglio.protect.purifiers import PURIFIERS
from intaglio.randomness import generator
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

SIGNS = "random-signs"
"""The control beside clean pictures: a change of random signs, as large as the budget, that no model was asked for."""
EVALUATIONS = 100
"""Gradients by the latents that each method takes of a picture, or by the pixels where it takes no others."""
SETS, QUICK_SETS = 4, 1
SEEDS, QUICK_SEEDS = 3, 1
USED, QUICK_USED = ("none", "jpeg-75", "resize", "tv", "diffuse"), ("none", "jpeg-75")
"""Purifiers."""
TRAVEL = 50.0
"""Grey levels that the steps of a method add up to, at least: fewer and larger ones where a step takes more samples."""
TIMED = 4
"""Pictures that the speed beside the plain loop is measured on."""
SHOWN = 4
"""Drawings of each arm's fine-tune that are kept, side by side in one picture."""


@dataclass(frozen=True, kw_only=True)
class ProtectBench(FewShotBench):
    """Every protection on the same pictures, imitated by fine-tunes after each purifier.

    All methods have one budget and as many gradients; a change of random signs stands beside them. The embedded base is
    both surrogate and imitator's base, the easiest case for a protection; sets are imitated by DreamBooth and by LoRA
    in turns, with equal seeds for clean and protected pictures. Net protection is the unlikeness of what the fine-tunes
    draw, protected less clean, by latents; by the embedded encoder it stands in `by_method`, beside the roughness of
    the drawings (a proxy for their noise) over that of clean fine-tunes. AdvDM is timed beside the plain published loop
    at the same rise of the loss. Protected pictures and drawings stay in the run's folder.
    """

    quick: bool = False
    """One set, one seed, two purifiers: some eight minutes."""
    sets: tuple[str, ...] = ()
    """Few-shot sets to protect, by turns imitated by DreamBooth and by LoRA; none takes four (one with --quick)."""
    methods: tuple[str, ...] = ()
    """Protections to measure; none takes all."""
    budget: float = 16.0
    """Grey levels of 255, in 0..64."""
    seeds: int | None = None
    """Fine-tunes of each kind; none takes 3 (1 with --quick)."""
    purifiers: tuple[str, ...] = ()
    """Ways to clean the pictures; none takes five (none and jpeg-75 with --quick)."""
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
            "fine_tunes": {tuner: asdict(method) for tuner, method in FINE_TUNES.items()},
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
        columns = (
            *("net_protection_none", "net_protection_worst", "worst_purifier"),
            *("psnr", "ssim", "seconds_per_image", "roughness_ratio", "membership_auc"),
        )
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
        """Every method with the budget, as many steps as its samples leave of the gradients, and the same travel."""
        found = default_methods("protect", seed=0, budget=self.budget, batch=10, micro_batch=20)
        if unknown := [name for name in self.methods if name not in found]:
            raise BadInput(f"there is no protection called {unknown[0]!r}; choose from: {', '.join(found)}")
        found = {name: method for name, method in found.items() if name in (self.methods or found)}
        return {name: replace(method, **_equal_effort(method)) for name, method in found.items()}

    def _jobs(self) -> list["_Job"]:
        turns: list[tuple[str, Tuner]] = [
            (name, TUNERS[place % len(TUNERS)]) for place, name in enumerate(self._sets())
        ]
        return [
            _Job(subject, tuner, arm, purifier, seed)
            for subject, tuner in turns
            for purifier in self._purifiers()
            for seed in range(self._seeds())
            for arm in (CLEAN, SIGNS, *self._methods())
        ]

    def _measure(self, run: Run) -> None:
        jobs, workers = self._jobs(), self.workers or workers_for(self.device)
        arms = [(subject, arm) for subject in self._sets() for arm in (SIGNS, *self._methods())]
        left_arms = [(s, arm, run.folder) for s, arm in arms if f"{s}/{arm}" not in run.recorded("arm")]
        left = [(job, run.folder) for job in jobs if job.key not in run.recorded("imitation")]
        done = len(arms) + len(jobs) - len(left_arms) - len(left)
        with run.progress(1 + len(arms) + len(jobs), "pieces", done) as progress:
            # The timing first and alone: beside other work the two would not be timed alike.
            if "advdm" not in run.recorded("timing"):
                pictures = testbed.few_shot(self._sets()[0]).members[:TIMED]
                method = AdvDM(budget=self.budget, batch=10, micro_batch=20)
                method = replace(method, **_equal_effort(method))
                run.record("timing", "advdm", beside_plain_loop(self.base, pictures, method, EVALUATIONS, self.budget))
            progress.advance()
            for (subject, arm, _), found in fan_out(self._protected, left_arms, workers):
                run.record("arm", f"{subject}/{arm}", found)
                progress.advance()
            for (job, _), found in fan_out(self._imitated, left, workers):
                run.record("imitation", job.key, found)
                progress.advance()

    def _protected(self, job: tuple[str, str, Path | None]) -> dict[str, Any]:
        """The protected pictures of an arm, left in the run's folder, and what that took."""
        subject, arm, folder = job
        originals, place = testbed.few_shot(subject).members, _place(folder, subject, arm)
        if arm == SIGNS:
            _random_signs(originals, self.budget, place)
            return {"set": subject, "arm": arm}
        began = time.perf_counter()
        _, result = protected(self.base, originals, self._methods()[arm], place)
        seconds = (time.perf_counter() - began) / len(originals)
        figures = result.figures()
        kept = {key: figures[key] for key in ("psnr", "ssim", "largest_difference", "gain")}
        return {"set": subject, "arm": arm, **kept, "seconds_per_image": seconds}

    def _imitated(self, job: tuple["_Job", Path | None]) -> dict[str, Any]:
        """The measurements of one fine-tune; its first drawings stay in the run's folder."""
        one, folder = job
        originals = captioned(testbed.few_shot(one.subject).members)
        pixels = originals.pixels
        if one.arm != CLEAN:
            pixels = ImageSet.load(_place(folder, one.subject, one.arm), pixels.shape[-1]).pixels
        who = imitator(self.base, one.tuner, one.subject, self.drawn)
        cleaned = PURIFIERS[one.purifier].clean(pixels, self.base, one.seed)
        taught = ImageSet.from_pixels(cleaned, originals.names, originals.captions)
        made = who.imitations(taught, originals, one.seed)
        if not one.seed and folder is not None:
            save_png(torch.cat(list(made.pixels[:SHOWN]), 2), folder / "images" / f"{one.key}.png".replace("/", "-"))
        return {
            **asdict(one),
            "set": one.subject,
            "unlikeness": who.unlikeness(made.pixels, originals),
            "unlikeness_by_encoder": by_encoder(ImageSet.from_pixels(made.pixels), originals, self.device),
            "membership": made.membership,
            "roughness": float(roughness(made.pixels).mean()),
        }

    def _figures(self, run: Run) -> dict[str, Any]:
        fine_tunes, timing = list(run.recorded("imitation").values()), run.recorded("timing")["advdm"]
        arms = list(run.recorded("arm").values())
        by_method = {
            name: {**of_arm(name, fine_tunes, self._purifiers()), **_about([one for one in arms if one["arm"] == name])}
            for name in (SIGNS, *self._methods())
        }
        flat = {
            f"{figure}_{name}": values[figure]
            for name, values in by_method.items()
            for figure in ("net_protection_none", "net_protection_worst")
        }
        return {
            **flat,
            "likeness_of_clean": 1 - mean_of_clean(fine_tunes, "unlikeness"),
            "noise_of_clean": noise_of_clean(fine_tunes),
            "membership_auc_clean": mean_of_clean(fine_tunes, "membership"),
            "advdm_speedup_vs_reference": timing["plain_seconds"] / timing["seconds"],
            "advdm_gain_vs_reference": timing["gain"] / timing["plain_gain"],
            "advdm_gradients_vs_reference": timing["share"],
            "budget": self.budget,
            "sets": list(self._sets()),
            "seeds": self._seeds(),
            "purifiers": list(self._purifiers()),
            "seconds": run.seconds,
            "by_method": by_method,
        }


@dataclass(frozen=True)
class _Job:
    """One fine-tune of a set: of clean pictures or of those of one arm, after a purifier."""

    subject: str
    tuner: Tuner
    arm: str
    purifier: str
    seed: int

    @property
    def key(self) -> str:
        return f"{self.subject}/{self.arm}/{self.purifier}/{self.seed}"


def _place(folder: Path | None, subject: str, arm: str) -> Path:
    return Path(folder or ".") / "protected" / subject / arm


def _random_signs(originals: ImageSet, budget: float, place: Path) -> None:
    """Files of the pictures changed by the budget with random signs."""
    signs = torch.randint(2, originals.pixels.shape, generator=generator(0, SIGNS)) * 2 - 1
    for k, pixels in enumerate((originals.pixels + signs * int(budget) / 255).clamp(0, 1)):
        save_png(pixels, place / f"{k:03d}.png")


def _equal_effort(method: Protector) -> dict[str, Any]:
    """The steps that its samples leave of the gradients, and the size at which they add up to the same travel."""
    steps = max(1, EVALUATIONS // method.samples_a_step)
    return {"steps": steps, "step": max(method.step, TRAVEL / steps)}


def _about(arms: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Means over sets of what a method changed and took; None for a change that took nothing."""
    names = ("psnr", "ssim", "seconds_per_image", "gain")
    means = {name: sum(one[name] for one in arms) / len(arms) if name in arms[0] else None for name in names}
    largest = [one["largest_difference"] for one in arms if "largest_difference" in one]
    return {**means, "largest_difference": max(largest, default=None)}


def _shown(value: Any) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float)
        else ", ".join(map(str, value))
        if isinstance(value, list)
        else str(value)
    )
