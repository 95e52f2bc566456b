"""`intaglio bench finetune`: the plain and the Bayesian fine-tune side by side, and how deep each falls on its way."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from intaglio.adapt.corruption import Judgement, dip, stages
from intaglio.adapt.data import TrainingSet, generate_class_images
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import Watch
from intaglio.bench.kit.suspects import PAPER, PROMPT, TUNERS, Tuner
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.interval import interval
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.randomness import generator_32bit
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

CHOSEN_ON = ("mammals", "hands")
"""The sets that rates, steps and sigmas below were chosen on; the bench leaves them out unless they are named."""
SETS = 2
SEEDS = 2
QUICK_SETS, QUICK_STEPS = 1, 96
JUDGED = 25
"""Judgements at most, where a run is longer than the usual one."""
CLASS_PROMPT = "style"
"""The prompt of the pictures without its rare word, as DreamBooth has it."""
TIMED, TURNS = 10, 3
"""Steps of each timing, and timings of each method, by turns."""
LABELS = ("plain", "bayes")
EMA = "ema"
"""The plain method with a mean of its weights: the older remedy, judged beside the two."""


@dataclass(frozen=True)
class _Regime:
    """A fine-tune in which the plain method falls, and the Bayesian one beside it."""

    pictures: int
    steps: int
    every: int
    """Steps between two judgements."""
    learning_rate: dict[Tuner, float]
    sigma: dict[Tuner, float]
    rank: int
    targets: tuple[str, ...]
    """What the LoRA learns."""
    ema: float
    """Decay of the mean of the weights, for the remedy beside the Bayesian one."""
    class_pictures: int = 0
    """Drawn by the base, for prior preservation with a weight of 1; 0 leaves it out."""
    down: Literal["kaiming", "gaussian"] = "kaiming"
    """How the LoRA's down starts."""

    def tuner(self, kind: Tuner, seed: int, label: str) -> DreamBooth | LoRATuning:
        """The settings of one fine-tune: plain, bayes or ema."""
        own: dict[str, Any] = {"steps": self.steps, "learning_rate": self.learning_rate[kind], "seed": seed}
        further = {"bayes": {"bayesian": True, "sigma": self.sigma[kind]}, EMA: {"ema": self.ema}}
        own |= further.get(label, {})
        if kind == "dreambooth":
            return DreamBooth(**own)
        return LoRATuning(**own, rank=self.rank, targets=self.targets, down=self.down)

    def watch(self) -> Watch:
        """Six pictures of the prompt a judgement, with guidance as a user would draw them."""
        return Watch(sample_count=0, watch_every=self.every, watch_count=6, watch_steps=8)


FEW = _Regime(
    pictures=1,
    steps=240,
    every=24,
    learning_rate={"dreambooth": 2e-4, "lora": 4e-3},
    sigma={"dreambooth": 0.03, "lora": 0.01},
    rank=PAPER.rank,
    targets=PAPER.targets,
    ema=0.95,
)
"""One picture of the artist, as the corruption stage is clearest with one.

Of DreamBooth's rates from 3e-5 to 1e-3 and LoRA's from 1e-3 to 4e-3 these fell deepest on the two sets: from some 50
steps on the subject is drawn in the hues of the noise that a picture began with. At 3e-5 likeness rises with hardly a
fall, and four pictures fall less than one. DreamBooth's sigma is three times the paper's, whose 0.01 changed next to
nothing at 1e-4 (the deviations of the base's layers are 0.03 to 0.06); 0.06 took likeness along with the dip. The
LoRA's is the paper's: at 0.03 it hardly learned its picture.
"""


@dataclass(frozen=True)
class FineTuneBench:
    """Fine-tune the embedded base on few pictures, plain and Bayesian, by DreamBooth and by LoRA, and watch the fall.

    A dip is the deepest fall of the likeness to the training pictures below what it had reached, `dip_lasting` the
    deepest that two judgements on end hold; `dip_reduction` is the share of the first that random weights take away,
    `fidelity_gain` what they add to the likeness at the last step, and `time_overhead` what they add to a step's time.
    An exponential mean of the plain method's weights runs beside them, as `ema`. Intervals of 95% are over resampled
    pairs of set and seed. Rates and sigmas were chosen on two sets that are left out here; `pictures`,
    `class_pictures`, `steps`, `rate`, `sigma` and `down` make another regime of it.
    """

    quick: bool = False
    """One set, one seed and two fifths of the steps: two to four minutes on a core, in which hardly anything falls."""
    tuners: tuple[Tuner, ...] = TUNERS
    """Methods to fine-tune by."""
    sets: tuple[str, ...] = ()
    """Few-shot sets to use; none takes two, evenly over those that nothing was chosen on (one with --quick)."""
    seeds: int = SEEDS
    """Fine-tunes of each set and method, each with a seed and pictures of its own; one with --quick."""
    pictures: int = 1
    """Pictures that a fine-tune learns."""
    class_pictures: int = 0
    """Pictures that the base draws for prior preservation, each step as many of them as others; 0 leaves it out."""
    steps: int | None = None
    """Steps of a fine-tune; none takes 240. With more than 600, every 25th part of them is judged."""
    rate: float | None = None
    """Learning rate; none takes 2e-4 for DreamBooth and 4e-3 for LoRA."""
    sigma: float | None = None
    """What the Bayesian sigmas start at; none takes 0.03 for DreamBooth and 0.01 for LoRA."""
    down: Literal["kaiming", "gaussian"] = "kaiming"
    """How the LoRA's down starts."""
    workers: int | None = None
    """Processes that the fine-tunes are spread over; none takes one a core on the CPU, else one."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""
    model: Path | None = None
    """The base; none takes the embedded testbed, which the few-shot sets were made for."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, not {self.seeds}")
        if not self.tuners:
            raise ValueError("tuners must name at least one method, dreambooth or lora")
        if self.pictures < 1:
            raise ValueError(f"pictures must be at least 1, not {self.pictures}")
        if self.class_pictures < 0:
            raise ValueError(f"class_pictures must not be negative: {self.class_pictures}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        for name in ("rate", "sigma"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0, not {value}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; the figures by name, and beside them those of every pair under `by_pair`."""
        sets, regime = self._sets(), self._regime()
        base = _base(self.model, self.device)
        settings = {"sets": sets, "seeds": self._seeds(), "regime": asdict(regime), "tuners": self._tuners()}
        inputs = {"model": {"path": str(self.model or "testbed"), "sha256": base.fingerprint}}
        run = Run.open(
            self.runs,
            "bench",
            "finetune",
            settings,
            inputs,
            seed=0,
            device=self.device,
            command=command,
            progress=progress,
        )
        with run:
            if run.status != "done":
                self._measure(run)
                run.finish(_figures(run, regime))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The figures as a table."""
        rows = [f"{name:>28}  {_shown(value)}" for name, value in figures.items() if not isinstance(value, dict)]
        for kind, values in figures["by_tuner"].items():
            rows += [f"{f'{kind} {name}':>28}  {_shown(value)}" for name, value in values.items()]
        return "\n".join(rows)

    def _sets(self) -> tuple[str, ...]:
        known = testbed.sets()
        if unknown := [name for name in self.sets if name not in known]:
            raise BadInput(f"there is no few-shot set called {unknown[0]!r}; choose from: {', '.join(known)}")
        held_out = [name for name in known if name not in CHOSEN_ON]
        count = min(QUICK_SETS if self.quick else SETS, len(held_out))
        return self.sets or tuple(held_out[place * len(held_out) // count] for place in range(count))

    def _seeds(self) -> int:
        return 1 if self.quick else self.seeds

    def _regime(self) -> _Regime:
        steps = self.steps or (QUICK_STEPS if self.quick else FEW.steps)
        return replace(
            FEW,
            pictures=self.pictures,
            class_pictures=self.class_pictures,
            down=self.down,
            steps=steps,
            every=max(FEW.every, steps // JUDGED),
            learning_rate=FEW.learning_rate if self.rate is None else dict.fromkeys(TUNERS, self.rate),
            sigma=FEW.sigma if self.sigma is None else dict.fromkeys(TUNERS, self.sigma),
        )

    def _tuners(self) -> tuple[Tuner, ...]:
        return tuple(kind for kind in TUNERS if kind in self.tuners)

    def _jobs(self) -> list["_Job"]:
        pairs = [
            _Job(kind, subject, turn * len(self._sets()) + place)
            for turn in range(self._seeds())
            for place, subject in enumerate(self._sets())
            for kind in self._tuners()
        ]
        timed = [replace(pairs[place], part="timing") for place in range(len(self._tuners()))]
        return [*timed, *pairs, *(replace(pair, part=EMA) for pair in pairs)]

    def _measure(self, run: Run) -> None:
        jobs = self._jobs()
        left = [job for job in jobs if job.key not in run.recorded(job.part)]
        # Timings first and alone: beside other work the two would not be timed alike.
        timed = [job for job in left if job.part == "timing"]
        watched = [job for job in left if job.part != "timing"]
        with run.progress(len(jobs), "pairs", len(jobs) - len(left)) as progress:
            for some, workers in ((timed, 1), (watched, self.workers or workers_for(self.device))):
                for job, found in fan_out(self._done, some, workers):
                    run.record(job.part, job.key, found)
                    progress.advance()

    def _done(self, job: "_Job") -> dict[str, Any]:
        base, regime = _base(self.model, self.device), self._regime()
        data = _pictures(job.subject, regime.pictures, job.seed)
        if regime.class_pictures:
            data = replace(
                data,
                class_images=_class_pictures(self.model, self.device, regime.class_pictures),
                class_prompt=CLASS_PROMPT,
            )
        if job.part == "timing":
            return _timed(base, data, regime, job)
        return _watched(base, data, regime, job, LABELS if job.part == "pair" else (EMA,))


@dataclass(frozen=True)
class _Job:
    """A plain fine-tune and the Bayesian one of the same pictures, seed and method."""

    kind: Tuner
    subject: str
    seed: int
    part: Literal["pair", "timing", "ema"] = "pair"
    """To be watched as a pair, timed, or watched with a mean of its weights."""

    @property
    def key(self) -> str:
        return self.kind if self.part == "timing" else f"{self.kind}/{self.subject}/{self.seed}"


@cache
def _base(model: Path | None, device: str) -> LatentDiffusion:
    return load_model(model or testbed.base_path(), device=device)


@cache
def _class_pictures(model: Path | None, device: str, count: int) -> ImageSet:
    """The base's own pictures of the class, the same for every fine-tune."""
    return generate_class_images(_base(model, device), CLASS_PROMPT, count, seed=0)


def _pictures(name: str, count: int, seed: int) -> TrainingSet:
    """Some members of a set, others for each seed, all under one prompt."""
    members = testbed.few_shot(name).members
    if count > len(members):
        raise BadInput(f"{name} has {len(members)} pictures, and {count} are wanted; take fewer with --pictures")
    order = torch.randperm(len(members), generator=generator_32bit(0, "bench", name)).tolist()
    taken = [order[(seed * count + place) % len(order)] for place in range(count)]
    return TrainingSet(ImageSet.from_pixels(members.pixels[taken], [members.names[place] for place in taken]), PROMPT)


def _watched(
    base: LatentDiffusion, data: TrainingSet, regime: _Regime, job: _Job, labels: Sequence[str]
) -> dict[str, Any]:
    """The judgements of each fine-tune."""
    found: dict[str, Any] = {"tuner": job.kind, "set": job.subject, "seed": job.seed}
    for label in labels:
        method = regime.tuner(job.kind, job.seed, label)
        found[label] = [asdict(judged) for judged in method(base, data, watch=regime.watch()).trained.curve]
    return found


def _timed(base: LatentDiffusion, data: TrainingSet, regime: _Regime, job: _Job) -> dict[str, Any]:
    """Seconds a step, unwatched, plain and Bayesian by turns, and the plans' bytes of both."""
    found: dict[str, Any] = {"tuner": job.kind, "seconds": {"plain": [], "bayes": []}, "bytes": {}}
    methods = {label: regime.tuner(job.kind, job.seed, label) for label in LABELS}
    with _one_thread():
        for label in LABELS * TURNS:
            # What a fine-tune of one step takes as well, copying and encoding, is no part of a step's time.
            short, long = (_seconds(replace(methods[label], steps=steps), base, data) for steps in (1, 1 + TIMED))
            found["seconds"][label].append((long - short) / TIMED)
    found["bytes"] = {label: method.plan(base, data).memory_bytes for label, method in methods.items()}
    return found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Where the processor's time is taken, a thread that waits for another counts as work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _seconds(method: DreamBooth | LoRATuning, base: LatentDiffusion, data: TrainingSet) -> float:
    """Of the processor where that computes, so that other work on the machine does not count; else of the clock."""
    clock = time.process_time if base.device.type == "cpu" else time.monotonic
    began = clock()
    method(base, data)
    return clock() - began


def _figures(run: Run, regime: _Regime) -> dict[str, Any]:
    """The headline figures over both methods, then each method's own, then every pair's."""
    means = run.recorded(EMA)
    pairs = [pair | {EMA: means[key][EMA]} for key, pair in sorted(run.recorded("pair").items())]
    timings = run.recorded("timing")
    kinds = [kind for kind in TUNERS if kind in timings]
    each = {kind: [pair for pair in pairs if pair["tuner"] == kind] for kind in kinds}
    overheads = {kind: _overhead(timings[kind]["seconds"]) for kind in kinds}
    return {
        **_compared(pairs),
        "time_overhead": float(np.mean(list(overheads.values()))),
        "pairs": len(pairs),
        "sets": sorted({pair["set"] for pair in pairs}),
        "chosen_on": list(CHOSEN_ON),
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "regime": asdict(regime),
        "by_tuner": {
            kind: {
                **_compared(each[kind]),
                "time_overhead": overheads[kind],
                "memory_overhead": timings[kind]["bytes"]["bayes"] / timings[kind]["bytes"]["plain"] - 1,
            }
            for kind in kinds
        },
        "by_pair": {
            f"{pair['tuner']}/{pair['set']}/{pair['seed']}": {label: _measured(pair[label]) for label in (*LABELS, EMA)}
            for pair in pairs
        },
    }


def _measured(curve: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    judged = [Judgement(**row) for row in curve]
    fall = dip([now.step for now in judged], [now.fidelity for now in judged])
    last = judged[-1]
    return {
        "dip": fall.depth,
        "dip_lasting": fall.lasting,
        "dip_length": fall.length,
        "dip_step": fall.step,
        "best": max(now.fidelity for now in judged),
        "final": last.fidelity,
        "diversity": last.diversity,
        "quality": last.quality,
        "least_quality": min(now.quality for now in judged),
        "stages": len(stages(judged)),
        "fidelity_curve": [round(now.fidelity, 3) for now in judged],
    }


def _compared(pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over pairs, with intervals from resampled ones where two are set against each other."""
    found = {label: [_measured(pair[label]) for pair in pairs] for label in (*LABELS, EMA)}
    values = {
        f"{name}_{label}": np.array([one[name] for one in found[label]])
        for name in ("dip", "dip_lasting", "dip_length", "best", "final", "diversity", "quality", "stages")
        for label in found
    }

    def against_plain(label: str, ending: str) -> dict[str, float]:
        dips, finals = ((values[f"{name}_plain"], values[f"{name}_{label}"]) for name in ("dip", "final"))
        return {
            **_estimate(f"dip_reduction{ending}", _reduction, dips),
            **_estimate(f"fidelity_gain{ending}", _gain, finals),
        }

    means = {name: float(each.mean()) for name, each in values.items()}
    return {
        "dip_plain": means.pop("dip_plain"),
        "dip_bayes": means.pop("dip_bayes"),
        **against_plain("bayes", ""),
        **against_plain(EMA, "_ema"),
        **means,
    }


def _reduction(plain: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """By which share of the plain method's mean dip the other's is smaller: [b, pairs] each to [b]."""
    return 1 - other.mean(-1) / np.maximum(plain.mean(-1), 1e-9)


def _gain(plain: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the other's values less the plain method's: [b, pairs] each to [b]."""
    return (other - plain).mean(-1)


def _estimate(
    name: str, statistic: Callable[..., NDArray[np.float64]], samples: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> dict[str, float]:
    """A statistic of pairs with its 95% interval from resampled pairs."""
    low, high = interval(statistic, samples, paired=True)
    value = float(statistic(*(sample[None] for sample in samples))[0])
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _overhead(seconds: Mapping[str, Sequence[float]]) -> float:
    """Of the middle turns."""
    return float(np.median(seconds["bayes"]) / np.median(seconds["plain"])) - 1


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else ", ".join(value) if isinstance(value, list) else str(value)
