"""`intaglio bench finetune`: the plain and the Bayesian form of every method, and the fall of each one's likeness."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any, Literal

from intaglio.adapt.data import generate_class_images
from intaglio.bench.finetune.exact_figures import exact_figures, exact_summary
from intaglio.bench.finetune.exact_grid import full_grid, measure, quick_grid
from intaglio.bench.finetune.figures import figures_of
from intaglio.bench.finetune.finetune_measures import judged, timed, training_set
from intaglio.bench.finetune.regime import AVERAGED, CHOSEN_ON, FORMS, PAIR, TUNERS, USUAL, FewShotRegime
from intaglio.bench.kit.few_shot_bench import FewShotBench
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

SETS = 2
SEEDS = 2
QUICK_SETS, QUICK_STEPS = 1, 96
MOST_JUDGEMENTS = 25
"""Judgements of a fine-tune that is longer than the usual one."""
CLASS_PROMPT = "style"
"""The prompt of the pictures without its rare word, as DreamBooth has it."""


@dataclass(frozen=True, kw_only=True)
class FineTuneBench(FewShotBench):
    """Fine-tune the embedded base on few pictures, plain and Bayesian, by every method.

    A dip is the deepest fall of the likeness to the training pictures below its running maximum, `dip_lasting` the
    deepest that two judgements in a row hold; `dip_reduction` is the share of the first that random weights take away,
    `fidelity_gain` what they add to the likeness at the last step, and `time_overhead` what they add to a step's time.
    An exponential mean of the plain form's weights runs beside them, as `ema`. Intervals of 95% are over resampled
    pairs of set and seed. Rates and sigmas were chosen on two sets that are left out here; `pictures`,
    `class_pictures`, `steps`, `rate`, `sigma` and `down` make another regime of it.

    On `points` small networks that have learned mixtures of Gaussians, whose best denoiser is known, are fine-tuned on
    one point or four in a fixed grid of regimes. `stage` is the share of worlds in which the rule for the corruption
    stage calls one, `ended` of those in which it ends, `noise` the share of the starting noise that stays in samples,
    and `across` the width that is learned where the data has nothing but noise, over the base's.
    """

    quick: bool = False
    """One set, one seed and two fifths of the steps: two to four minutes on a core, in which hardly anything falls; on
    points three regimes, in seconds."""
    ground: Literal["pictures", "points"] = "pictures"
    """The embedded base and its few-shot sets, or small exact bases and points, which takes no further settings."""
    tuners: tuple[str, ...] | None = None
    """Methods to fine-tune by; none takes all."""
    sets: tuple[str, ...] = ()
    """Few-shot sets to use; none takes two, evenly over those that nothing was chosen on (one with --quick)."""
    seeds: int = SEEDS
    """Fine-tunes of each set and method, each with a seed and pictures of its own; one with --quick."""
    pictures: int = 1
    """Training pictures of a fine-tune."""
    class_pictures: int = 0
    """Pictures that the base draws for prior preservation, each step as many of them as others; 0 leaves it out."""
    steps: int | None = None
    """Steps of a fine-tune; none takes 240. With more than 600, every 25th part of them is judged."""
    rate: float | None = None
    """Learning rate, above 0; none takes that of each method's own, such as 2e-4 for DreamBooth and 4e-3 for LoRA."""
    sigma: float | None = None
    """Standard deviation of the random weights at the start, above 0; none takes each method's own, such as 0.03 for
    DreamBooth and 0.01 for LoRA."""
    down: Literal["kaiming", "gaussian"] = "kaiming"
    """Initial values of down, for methods with a low-rank update."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ground == "points":
            self._refuse_idle()
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, not {self.seeds}")
        known = TUNERS
        if self.tuners is not None and (not self.tuners or set(self.tuners) - set(known)):
            raise ValueError(f"tuners must name at least one method, and each of {', '.join(known)}: {self.tuners}")
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

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; the figures by name, and beside them those of every pair under `by_pair`."""
        if self.ground == "points":
            return self._on_points(command, progress)
        regime = self._regime()
        described = regime.described(self._tuners())
        tuners = {name: {form: asdict(regime.tuner(name, 0, form)) for form in FORMS} for name in self._tuners()}
        settings = {"sets": self._sets(), "seeds": self._seeds(), "regime": described, "tuners": tuners}
        inputs = self.inputs()
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
                run.finish(figures_of(run, described))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The figures as a table."""
        if "by_regime" in figures:
            return exact_summary(figures)
        rows = [f"{name:>28}  {_shown(value)}" for name, value in figures.items() if not isinstance(value, dict)]
        for tuner, values in figures["by_tuner"].items():
            rows += [f"{f'{tuner} {name}':>28}  {_shown(value)}" for name, value in values.items()]
        return "\n".join(rows)

    def _refuse_idle(self) -> None:
        for field in fields(self):
            if field.name not in ("quick", "ground", "runs") and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name} acts only with ground pictures; leave it out")

    def _on_points(self, command: Sequence[str], progress: Show) -> dict[str, Any]:
        grid = quick_grid() if self.quick else full_grid()
        settings = {"ground": self.ground, "grid": asdict(grid)}
        about = {"seed": 0, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "finetune", settings, {}, **about) as run:
            if run.status != "done":
                measure(run, grid)
                run.finish(exact_figures(run, grid))
            return run.summary

    def _sets(self) -> tuple[str, ...]:
        known = testbed.sets()
        if unknown := [name for name in self.sets if name not in known]:
            raise BadInput(f"there is no few-shot set called {unknown[0]!r}; choose from: {', '.join(known)}")
        held_out = [name for name in known if name not in CHOSEN_ON]
        count = min(QUICK_SETS if self.quick else SETS, len(held_out))
        return self.sets or tuple(held_out[index * len(held_out) // count] for index in range(count))

    def _seeds(self) -> int:
        return 1 if self.quick else self.seeds

    def _regime(self) -> FewShotRegime:
        steps = self.steps or (QUICK_STEPS if self.quick else USUAL.steps)
        return replace(
            USUAL,
            pictures=self.pictures,
            class_pictures=self.class_pictures,
            steps=steps,
            every=max(USUAL.every, steps // MOST_JUDGEMENTS),
            learning_rate=self.rate,
            sigma=self.sigma,
            down=self.down,
        )

    def _tuners(self) -> tuple[str, ...]:
        return tuple(name for name in TUNERS if self.tuners is None or name in self.tuners)

    def _jobs(self) -> list["_Job"]:
        pairs = [
            _Job(name, subject, turn * len(self._sets()) + index)
            for turn in range(self._seeds())
            for index, subject in enumerate(self._sets())
            for name in self._tuners()
        ]
        timings = [replace(pairs[index], part="timing") for index in range(len(self._tuners()))]
        return [*timings, *pairs, *(replace(pair, part=AVERAGED) for pair in pairs)]

    def _measure(self, run: Run) -> None:
        jobs = self._jobs()
        left = [job for job in jobs if job.key not in run.recorded(job.part)]
        # Timings first and alone: beside other work the two would not be timed alike.
        timings = [job for job in left if job.part == "timing"]
        others = [job for job in left if job.part != "timing"]
        with run.progress(len(jobs), "pairs", len(jobs) - len(left)) as progress:
            for some, workers in ((timings, 1), (others, self.workers or workers_for(self.device))):
                for job, found in fan_out(self._done, some, workers):
                    run.record(job.part, job.key, found)
                    progress.advance()

    def _done(self, job: "_Job") -> dict[str, Any]:
        base, regime = self.base, self._regime()
        data = training_set(job.subject, regime.pictures, job.seed)
        if regime.class_pictures:
            classes = _class_pictures(self, regime.class_pictures)
            data = replace(data, class_images=classes, class_prompt=CLASS_PROMPT)
        if job.part == "timing":
            return {"tuner": job.tuner, **timed(base, data, regime, job.tuner, job.seed)}
        forms = PAIR if job.part == "pair" else (AVERAGED,)
        found = judged(base, data, regime, job.tuner, job.seed, forms)
        return {"tuner": job.tuner, "set": job.subject, "seed": job.seed, **found}


@dataclass(frozen=True)
class _Job:
    """Fine-tunes of the same pictures, seed and method."""

    tuner: str
    subject: str
    seed: int
    part: Literal["pair", "timing", "ema"] = "pair"
    """The plain and the Bayesian form judged, both timed, or the plain form with a mean of its weights judged."""

    @property
    def key(self) -> str:
        return self.tuner if self.part == "timing" else f"{self.tuner}/{self.subject}/{self.seed}"


@cache
def _class_pictures(bench: FewShotBench, count: int) -> ImageSet:
    """The base's own pictures of the class, the same for every fine-tune."""
    return generate_class_images(bench.base, CLASS_PROMPT, count, seed=0)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else ", ".join(value) if isinstance(value, list) else str(value)
