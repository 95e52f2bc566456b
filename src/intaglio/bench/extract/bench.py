"""`intaglio bench extract`: every extraction method on the same suspects, at several strengths of fine-tuning."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from intaglio.bench.extract.extraction_measures import measured
from intaglio.bench.extract.figures import PUBLISHED, figures_of
from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.bench.kit.few_shot_bench import FewShotBench
from intaglio.bench.kit.methods import default_methods
from intaglio.bench.kit.suspects import PAPER, PROMPT, TUNERS, Regime, Tuner, fine_tuned
from intaglio.errors import BadInput
from intaglio.extract.family import Extractor
from intaglio.extract.methods.finextract import FineXtract
from intaglio.images.image_set import ImageSet, save_png
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.sampling.loop import sample

STRENGTHS: dict[str, dict[Tuner, int]] = {
    "weak": {"dreambooth": 75, "lora": 150},
    "middle": {"dreambooth": 150, "lora": 300},
    "strong": {"dreambooth": 300, "lora": 600},
}
"""Steps of batch 4 on ten pictures."""
LEFT_OUT = ("hands", "mammals")
"""Sets on which settings were tried, here or for other benches; not used unless they are named."""
COUNT, QUICK_COUNT = 6, 2
"""Sets used, evenly spread over the others."""
TIMED = 60
"""Pictures that the speed is measured on (20 with --quick)."""
PUBLISHED_STEPS, PUBLISHED_BATCH = 50, 5
PUBLISHED_SCALE: dict[Tuner, dict[str, float]] = {
    "dreambooth": {"scale": 3.0, "correction": -0.02},
    "lora": {"scale": 5.0, "correction": 0.0},
}
"""The authors' settings of FineXtract by the kind of fine-tune."""


@dataclass(frozen=True, kw_only=True)
class ExtractBench(FewShotBench):
    """Every extraction method on the same suspects: the base, fine-tuned at three strengths.

    All methods draw the same number of pictures with the same seeds, sampler and steps, group them alike, and return
    as many as there are training pictures. Two thresholds are fitted to the encoder on pairs of different pictures of
    one kind: `loose` lies above all but one pair in a hundred, `strict` above all but one in a thousand; the headline
    rates are at `strict`. FineXtract is timed beside a plain loop of the published procedure on the same suspect.
    """

    quick: bool = False
    """Two sets, the middle strength, 40 pictures a method; minutes in place of an hour."""
    sets: tuple[str, ...] = ()
    """Few-shot sets to use, by turns tuned by DreamBooth and by LoRA; none takes six."""
    generations: int | None = None
    """Pictures that each method draws; none takes 100 (40 with --quick), for ten training pictures."""
    seed: int = 0
    """Of the fine-tunes and the pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generations is not None and self.generations < 20:
            raise ValueError(f"generations must be at least 20, twice the pictures sought, not {self.generations}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; the figures by name, and beside them what each suspect gave under `by_suspect`."""
        settings = {
            "sets": self._sets(),
            "quick": self.quick,
            "strengths": STRENGTHS,
            "methods": {name: asdict(method) for name, method in self._methods("dreambooth").items()},
        }
        inputs = {**self.inputs(), "encoder": {"path": "embedded", "sha256": embedded_encoder(self.device).hash}}
        run = Run.open(
            self.runs,
            "bench",
            "extract",
            settings,
            inputs,
            seed=self.seed,
            device=self.device,
            command=command,
            progress=progress,
        )
        with run:
            if run.status != "done":
                self._measure(run)
                run.finish(figures_of(run, self._methods("dreambooth")))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The figures as a table."""
        plain = [(name, value) for name, value in figures.items() if not isinstance(value, dict)]
        return "\n".join(
            f"{name:>28}  {f'{value:.4g}' if isinstance(value, float) else value}" for name, value in plain
        )

    def _sets(self) -> tuple[str, ...]:
        known = testbed.sets()
        if unknown := [name for name in self.sets if name not in known]:
            raise BadInput(f"there is no few-shot set called {unknown[0]!r}; choose from: {', '.join(known)}")
        others = [name for name in known if name not in LEFT_OUT]
        count = QUICK_COUNT if self.quick else COUNT
        return self.sets or tuple(others[place * len(others) // count] for place in range(count))

    def _methods(self, kind: Tuner) -> dict[str, Extractor]:
        """Every method with the same pictures to draw; FineXtract as published for the kind of fine-tune."""
        generations = self.generations or (40 if self.quick else 100)
        methods = default_methods("extract", seed=self.seed, generations=generations, patience=0)
        return methods | {PUBLISHED: replace(methods[PUBLISHED], **PUBLISHED_SCALE[kind])}

    def _jobs(self) -> list["_Job"]:
        strengths = ("middle",) if self.quick else tuple(STRENGTHS)
        turns: list[tuple[str, Tuner]] = [
            (name, TUNERS[place % len(TUNERS)]) for place, name in enumerate(self._sets())
        ]
        return [_Job(name, kind, strength) for name, kind in turns for strength in strengths]

    def _measure(self, run: Run) -> None:
        jobs = self._jobs()
        left = [job for job in jobs if job.key not in run.recorded("suspect")]
        with run.progress(len(jobs) + 1, "suspects", len(jobs) - len(left)) as progress:
            for job, found in fan_out(self._extracted, left, self._workers()):
                run.record("suspect", job.key, found)
                progress.advance()
            if not run.recorded("speed"):
                run.record("speed", "speed", self._timed(jobs[0]))
            progress.advance()

    def _workers(self) -> int:
        return self.workers or workers_for(self.device)

    def _extracted(self, job: "_Job") -> dict[str, Any]:
        """The measures of every method on one suspect."""
        base, encoder = self.base, embedded_encoder(self.device)
        suspect = fine_tuned(base, job.regime, job.kind, job.subject, self.seed)
        found: dict[str, Any] = {"set": job.subject, "tuner": job.kind, "strength": job.strength, "methods": {}}
        for name, method in self._variants(job).items():
            began = time.monotonic()
            result = method(suspect, base, prompts=(PROMPT,), similarity=encoder)
            seconds = time.monotonic() - began
            found["methods"][name] = {**measured(result, job.subject, encoder), "seconds": seconds}
        return found

    def _variants(self, job: "_Job") -> dict[str, Extractor]:
        """The methods, and on two suspects FineXtract with the published sampler too."""
        methods = self._methods(job.kind)
        if job.strength == "middle" and job.subject in self._sets()[:2]:
            methods[f"{PUBLISHED}, published sampler"] = replace(
                methods[PUBLISHED], sampler="ddim", steps=PUBLISHED_STEPS, batch=PUBLISHED_BATCH
            )
        return methods

    def _timed(self, job: "_Job") -> dict[str, Any]:
        """The plain loop between two calls of the default, and the default with the published steps."""
        base, encoder = self.base, embedded_encoder(self.device)
        suspect = fine_tuned(base, job.regime, job.kind, job.subject, self.seed)
        count = 20 if self.quick else TIMED
        ours = replace(self._methods(job.kind)[PUBLISHED], generations=count, pictures=10)
        same = replace(ours, sampler="ddim", steps=PUBLISHED_STEPS)

        def timed(method: Extractor) -> float:
            began = time.monotonic()
            method(suspect, base, prompts=(PROMPT,), similarity=encoder, workers=self._workers())
            return (time.monotonic() - began) / count

        timed(replace(ours, generations=20, steps=1))  # starts the workers
        first = timed(ours)
        began = time.monotonic()
        plain_loop(suspect, base, count, encoder)
        plain = (time.monotonic() - began) / count
        return {"plain": plain, "ours": [first, timed(ours)], "equal_steps": timed(same), "pictures": count}


@dataclass(frozen=True)
class _Job:
    """One suspect."""

    subject: str
    kind: Tuner
    strength: str

    @property
    def key(self) -> str:
        return f"{self.strength}/{self.kind}/{self.subject}"

    @property
    def regime(self) -> Regime:
        """The fine-tune that makes the suspect: of the ten members alone."""
        return replace(PAPER, name=self.strength, batch=4, steps=STRENGTHS[self.strength])


def plain_loop(suspect: LatentDiffusion, base: LatentDiffusion, count: int, encoder: Embedding) -> torch.Tensor:
    """The published procedure as a script has it: small batches, prompts read anew, pictures through files.

    Fifty DDIM steps, both networks called in turn on batches of five, each picture written as PNG, read again and
    embedded alone; one process with all its threads. Returns the descriptors [count, d].
    """
    guide = FineXtract(scale=3.0).guide(base, prompted=True)
    with TemporaryDirectory() as folder:
        for first in range(0, count, PUBLISHED_BATCH):
            seeds = range(first, min(first + PUBLISHED_BATCH, count))
            drawn = sample(
                suspect,
                [PROMPT] * len(seeds),
                list(seeds),
                steps=PUBLISHED_STEPS,
                guidance_scale=1.0,
                guide=guide,
                batch=PUBLISHED_BATCH,
            )
            for seed, picture in zip(seeds, drawn.pixels, strict=True):
                save_png(picture, Path(folder) / f"{seed}.png")
        paths = sorted(Path(folder).iterdir())
        return torch.cat([encoder.embed(ImageSet.load([path], suspect.resolution).pixels) for path in paths])
