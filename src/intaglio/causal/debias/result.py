"""The result of a correction: effects of trials as predicted and as corrected; stored and read again.

`effects.json` in the run's folder has all of it, `effects.csv` a line a trial.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from intaglio.runs.json_table import JsonTable


@dataclass(frozen=True)
class TrialEffect:
    """The effect of one trial."""

    trial: str
    predicted: float
    """By the predictions as they are."""
    effect: float
    """By the corrected ones."""
    interval: tuple[float, ...]
    """Of the latter, 95%."""
    treated: int
    """Units."""
    untreated: int


COLUMNS = ["trial", "predicted", "effect", "low", "high", "treated", "untreated"]


@dataclass(frozen=True)
class DebiasedEffects(JsonTable):
    """Effects of trials by one correction."""

    file: ClassVar[str] = "effects.json"
    table: ClassVar[str] = "effects.csv"

    method: str
    reading: str
    calibration: int
    """Rows that it was learnt from."""
    effects: tuple[TrialEffect, ...]
    recovered: tuple[float, ...]
    """Slope of estimated on true effects in pseudo-trials of calibration rows, with its bounds; 1 is unbiased."""
    outside: float
    """Share of the trials' predictions outside of the calibrated ones."""
    warnings: tuple[str, ...]

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Effects by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        share, low, high = self.recovered
        first = self.effects[0]
        told = f"the effect is {first.effect:.3g} ({first.interval[0]:.3g} to {first.interval[1]:.3g})"
        if len(self.effects) > 1:
            sizes = [one.effect for one in self.effects]
            told = f"{len(self.effects)} effects are {min(sizes):.3g} to {max(sizes):.3g}"
        return (
            f"By {self.method} {told}; in pseudo-trials, estimated effects are {share:.2f} ({low:.2f} to {high:.2f}) "
            "times the true ones."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a trial; the keys are `COLUMNS`."""
        return [
            {
                "trial": one.trial,
                "predicted": one.predicted,
                "effect": one.effect,
                "low": one.interval[0],
                "high": one.interval[1],
                "treated": one.treated,
                "untreated": one.untreated,
            }
            for one in self.effects
        ]

    def figures(self) -> dict[str, Any]:
        """Counts, effects, of one trial with its interval, and the slope in pseudo-trials."""
        share, low, high = self.recovered
        sizes = [one.effect for one in self.effects]
        one = dict(zip(("low", "high"), self.effects[0].interval, strict=True)) if len(sizes) == 1 else {}
        return {
            **({"effect": sizes[0], **one} if one else {"least_effect": min(sizes), "largest_effect": max(sizes)}),
            "trials": len(self.effects),
            "calibration": self.calibration,
            "recovered": share,
            "recovered_low": low,
            "recovered_high": high,
            "outside": self.outside,
        }

    @classmethod
    def _of(cls, stored: Mapping[str, Any]) -> "DebiasedEffects":
        effects = tuple(
            TrialEffect(
                str(one["trial"]), float(one["predicted"]), float(one["effect"]),
                tuple(map(float, one["interval"])), int(one["treated"]), int(one["untreated"]),
            )
            for one in stored["effects"]
        )  # fmt: skip
        recovered = tuple(map(float, stored["recovered"]))
        if not effects or len(recovered) != 3 or any(len(one.interval) != 2 for one in effects):
            raise ValueError("there are no effects")
        known = {one.name: stored[one.name] for one in fields(cls)}
        return cls(
            **{**known, "effects": effects, "recovered": recovered, "warnings": tuple(map(str, known["warnings"]))}
        )
