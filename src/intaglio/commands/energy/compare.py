"""`intaglio energy compare`: estimates of several ways to do one job, side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from intaglio.amounts import duration_words, energy_words
from intaglio.commands.kit.console import note, say, say_json
from intaglio.commands.kit.inputs import embedded_model, noted
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.energy.energy_estimate import EnergyEstimate
    from intaglio.energy.jobs import JobWork
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

MOST = 200
"""Most combinations."""
Job = Literal["sample", "finetune", "finetune-lora"]
Precision = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class Alternative:
    """One way to do the job."""

    job: Job
    steps: int
    batch: int
    side: int | None
    guidance: float
    rank: int
    precision: Precision = "float32"
    """Of the weights of a drawing."""

    @property
    def words(self) -> tuple[str, ...]:
        """Cells of a table; a dash for what the job does not have."""
        guidance = f"{self.guidance:g}" if self.job == "sample" else "-"
        side = "own" if self.side is None else str(self.side)
        rank = str(self.rank) if self.job == "finetune-lora" else "-"
        return self.job, str(self.steps), str(self.batch), side, guidance, rank, self.precision


@dataclass(frozen=True, kw_only=True)
class CompareEnergy:
    """Compare ways to do a job before any of them runs: every combination of the given values, the cheapest first.

    That pictures or weights come out as well is not part of it. Trainings count the same number of updates.
    """

    job: tuple[Job, ...] = ("finetune-lora", "finetune")
    """Drawing pictures, training all weights of the denoiser, training a LoRA of it."""
    model: Path | None = None
    """A diffusers folder or a single .safetensors file; none takes the embedded testbed."""
    like: Path | None = None
    """A diffusers folder that gives the model what it lacks, such as the tokenizer of a single file."""
    pictures: int = 8
    """Pictures to draw, 1 or more."""
    steps: tuple[int, ...] = (30,)
    """Sampling steps, or updates of a training, each 1 or more."""
    batch: tuple[int, ...] = (1, 8)
    """Pictures at once, each 1 or more."""
    side: tuple[int, ...] = ()
    """Sides of square pictures in pixels; none takes the model's own."""
    guidance: tuple[float, ...] = (5.0,)
    """Guidance scales of a drawing; 1 is none."""
    rank: tuple[int, ...] = (4,)
    """Ranks of a LoRA, each 1 or more."""
    precision: tuple[Precision, ...] = ("float32",)
    """Precisions of the weights of a drawing; trainings are in float32. Those that the profile does not cover are shown
    without an estimate."""
    device: str = "cpu"
    """Device that the job is to run on, such as cpu or cuda:1."""
    profile: Path | None = None
    """A profile's file; none takes this machine's own, or on a processor the one that ships."""
    allow_low_coverage: bool = False
    """Give estimates even where less than half of the work is covered by the profile."""
    json: bool = False
    """End with one line of JSON."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "rank", "side"):
            if any(not 1 <= value <= 10**9 for value in getattr(self, name)):
                raise ValueError(f"{name} must be numbers of at least 1 and at most 1e9, not {getattr(self, name)}")
        if not 1 <= self.pictures <= 10**9:
            raise ValueError(f"pictures must be at least 1 and at most 1e9, not {self.pictures}")
        if any(not 0 <= value < float("inf") for value in self.guidance):
            raise ValueError(f"guidance must be 0 or more, and finite, not {self.guidance}")
        if not 1 <= (count := len(self._alternatives())) <= MOST:
            raise ValueError(f"the values together make {count} combinations; give 1 to {MOST}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        import torch

        from intaglio.commands.kit.energy_lines import predictor_of
        from intaglio.energy.energy_estimate import estimate
        from intaglio.energy.machine_profile import known_profile
        from intaglio.models.diffusion.loading import load_model

        found = known_profile(self.device, self.profile)
        where = self.model or embedded_model()
        models = {
            precision: load_model(where, like=self.like, device=self.device, dtype=getattr(torch, precision))
            for precision in dict.fromkeys(one.precision for one in self._alternatives())
        }
        noted(next(iter(models.values())))
        predict = predictor_of(found)
        told = {
            one: estimate(predict, self._work(models[one.precision], one), allow_low_coverage=True)
            for one in self._alternatives()
        }
        self._show(told)
        return 0

    def _show(self, told: "Mapping[Alternative, EnergyEstimate]") -> None:
        """Prints the covered alternatives, the cheapest first, and then the others. Raises `BadInput` for none."""
        from intaglio.energy.energy_estimate import LEAST_COVERAGE

        covered = [one for one in told if self.allow_low_coverage or told[one].whole.coverage >= LEAST_COVERAGE]
        bare = [one for one in told if one not in covered]
        if not covered:
            best = max(told[one].whole.coverage for one in bare)
            raise BadInput(
                f"only {best:.0%} of this work is covered by the profile; make one of this model with intaglio energy "
                f"profile --model, or give --allow-low-coverage ({'; '.join(told[bare[0]].whole.warnings)})"
            )
        ordered = sorted(covered, key=lambda one: told[one].whole.amount)
        for warning in dict.fromkeys(warning for one in ordered for warning in told[one].warnings):
            note(warning)
        if self.json:
            rows = [_figures(one, told[one]) for one in ordered] + [_uncovered(one, told[one]) for one in bare]
            say_json({"alternatives": rows})
            return
        cheapest = told[ordered[0]].whole.amount
        head = ("job", "steps", "batch", "side", "guidance", "rank", "precision")
        head = (*head, "about", "95%", "time", "times the cheapest")
        rows = [_row(one, told[one], cheapest) for one in ordered]
        for one in bare:
            rows.append((*one.words, f"not covered ({told[one].whole.coverage:.0%})", "-", "-", "-"))
        say(aligned([head, *rows]))

    def _alternatives(self) -> list[Alternative]:
        """Every combination once; values that a job does not have make no further ones."""
        return list(dict.fromkeys(self._combinations()))

    def _combinations(self) -> Iterator[Alternative]:
        sides, given = self.side or (None,), (self.guidance, self.rank, self.precision)
        for values in product(self.job, self.steps, self.batch, sides, *given):
            job, steps, batch, side, guidance, rank, precision = values
            yield Alternative(
                job,
                steps,
                batch,
                side,
                guidance if job == "sample" else self.guidance[0],
                rank if job == "finetune-lora" else self.rank[0],
                precision if job == "sample" else "float32",
            )

    def _work(self, model: "LatentDiffusion", one: Alternative) -> "JobWork":
        from intaglio.commands.kit.energy_lines import sample_work, training_work

        size = None if one.side is None else (one.side, one.side)
        if one.job == "sample":
            return sample_work(model, self.pictures, one.steps, one.batch, guided=one.guidance != 1, size=size)
        return training_work(model, one.steps, one.batch, one.rank if one.job == "finetune-lora" else None, size=size)


def _row(one: Alternative, told: "EnergyEstimate", cheapest: float) -> tuple[str, ...]:
    low, high = told.whole.interval
    joules = told.joules is not None
    about, least, most = (energy_words(x) if joules else f"{x:.3g} CPU-s" for x in (told.whole.amount, low, high))
    ratio = f"{told.whole.amount / cheapest:.2f}" if cheapest > 0 else "-"
    return *one.words, about, f"{least} to {most}", duration_words(told.whole.seconds), ratio


def _figures(one: Alternative, told: "EnergyEstimate") -> dict[str, Any]:
    return {**vars(one), "covered": True, **told.figures()}


def _uncovered(one: Alternative, told: "EnergyEstimate") -> dict[str, Any]:
    """An alternative without an estimate, as plain values."""
    return {**vars(one), "covered": False, "coverage": told.whole.coverage, "warnings": list(told.warnings)}
