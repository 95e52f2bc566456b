"""`EnergyEstimate`: the cost of a job before it runs, with interval, provenance, coverage, and other units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intaglio.amounts import duration_words, energy_words
from intaglio.energy.conversions import Converted, Rates, convert
from intaglio.energy.family import Predictor
from intaglio.energy.jobs import JobWork
from intaglio.energy.step_estimate import StepEstimate
from intaglio.errors import BadInput
from intaglio.meters.domain import Unit

LEAST_COVERAGE, GOOD_COVERAGE = 0.5, 0.9
"""Coverage below which there is no estimate unless it is asked for, and below which a warning stands beside it."""


@dataclass(frozen=True)
class EnergyEstimate:
    """An estimate; its joules are those of a meter's unit, and never of a stated rate."""

    whole: StepEstimate
    """The job, in the profile's unit."""
    parts: Mapping[str, StepEstimate]
    """Its parts; their intervals are not independent, so that they do not add up to that of the whole."""
    converted: Converted | None = None
    """Other units of the joules; None where the profile has none."""
    joules_modelled: tuple[float, float, float] | None = None
    """By a stated power: expected, and the bounds of 95%."""
    warnings: tuple[str, ...] = ()

    @property
    def joules(self) -> float | None:
        """Expected joules; None for a profile in processor seconds."""
        return self.whole.amount if self.whole.unit == Unit.JOULES else None

    def figures(self) -> dict[str, Any]:
        """Plain values; `joules` and what follows from it are null where no meter stands behind the profile."""
        low, high = self.whole.interval
        joules = self.joules
        rest = {"kwh": None, "battery_share": None, "grams_co2e": None, "money": None, "currency": None, "pue": None}
        if (found := self.converted) is not None:
            rest = {"kwh": found.kwh, "battery_share": found.battery_share, "grams_co2e": found.grams}
            rest |= {"money": found.money, "currency": found.currency or None, "pue": found.pue}
        return {
            "amount": self.whole.amount,
            "interval_95": [low, high],
            "unit": self.whole.unit,
            "provenance": self.whole.provenance,
            "coverage": self.whole.coverage,
            "correction": self.whole.correction,
            "seconds": self.whole.seconds,
            "joules": joules,
            "joules_interval_95": None if joules is None else [low, high],
            "joules_modelled": None if self.joules_modelled is None else self.joules_modelled[0],
            "joules_modelled_interval_95": None if self.joules_modelled is None else list(self.joules_modelled[1:]),
            **rest,
            "parts": {name: part.amount for name, part in self.parts.items()},
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        low, high = self.whole.interval
        words = energy_words if self.joules is not None else _cpu_words
        name = "energy" if self.joules is not None else "processor"
        rows = [
            (name, f"about {words(self.whole.amount)}, {words(low)} to {words(high)} with 95%"),
            ("time", f"about {duration_words(self.whole.seconds)}"),
            ("from", f"{self.whole.provenance} layers, {self.whole.coverage:.0%} of the amount covered by them"),
        ]
        if self.joules_modelled is not None:
            modelled, least, most = (energy_words(amount) for amount in self.joules_modelled)
            rows.append(("modelled", f"{modelled}, {least} to {most}, by the stated power"))
        if self.converted is not None:
            rows += self.converted.rows()[1:]
        if len(self.parts) > 1:
            rows += [(name, words(part.amount)) for name, part in self.parts.items()]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {text}" for name, text in rows]
        return "\n".join([*lines, *(f"note: {one}" for one in self.warnings)])

    @property
    def line(self) -> str:
        """The estimate in one line, for a plan."""
        low, high = self.whole.interval
        words = energy_words if self.joules is not None else _cpu_words
        return f"about {words(self.whole.amount)} ({words(low)} to {words(high)} with 95%)"


def estimate(
    predict: Predictor,
    work: JobWork,
    rates: Rates | None = None,
    *,
    watts_per_cpu_second: float | None = None,
    allow_low_coverage: bool = False,
    warnings: Sequence[str] = (),
    remedy: str = "make one of this model with intaglio energy profile --model",
) -> EnergyEstimate:
    """The cost of a job.

    Args:
        predict: a method's predictor, from a profile.
        work: the job's steps.
        rates: what joules are converted by; they do not touch an estimate in processor seconds.
        watts_per_cpu_second: power of one busy core in W, for modelled joules from processor seconds.
        allow_low_coverage: give an estimate even where less than half of it rests on measured layers.
        warnings: sentences that are to stand with it, such as on the profile.
        remedy: the way to a profile that covers more, for the error; empty: there is none.

    Raises:
        BadInput: less than half of the amount is covered by the profile.
    """
    whole = predict(work.whole)
    parts = {name: predict(step) for name, step in work.parts.items()}
    said = [*warnings, *whole.warnings]
    if whole.coverage < LEAST_COVERAGE and not allow_low_coverage:
        advice = ", or ".join(filter(None, [remedy, "give --allow-low-coverage"]))
        raise BadInput(
            f"only {whole.coverage:.0%} of this work is covered by the profile; {advice} ({'; '.join(whole.warnings)})"
        )
    if whole.unit != Unit.JOULES and rates is not None and rates != Rates():
        said.append(
            "the rates are of joules, and the profile counts processor seconds: no money, carbon or battery is told"
        )
    if whole.coverage < GOOD_COVERAGE:
        said.append(f"only {whole.coverage:.0%} of the amount rests on measured layers")
    modelled, rate = None, watts_per_cpu_second
    if whole.unit == Unit.CPU_SECONDS and rate is not None:
        low, high = whole.interval
        modelled = (rate * whole.amount, rate * low, rate * high)
    converted = convert(whole.amount, rates or Rates()) if whole.unit == Unit.JOULES else None
    return EnergyEstimate(whole, parts, converted, modelled, tuple(dict.fromkeys(said)))


def _cpu_words(seconds: float) -> str:
    return f"{seconds:.3g} CPU-s" if seconds < 90 else f"{seconds / 60:.3g} CPU-min"
