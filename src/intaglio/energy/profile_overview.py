"""`ProfileOverview`: a profile made readable, as figures and as tables for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from intaglio.energy.methods.thor import Thor
from intaglio.energy.profile.energy_profile import EnergyProfile, ProfiledFamily
from intaglio.energy.profile.known_fits import cost_process
from intaglio.energy.profile.sum_correction import SumCorrection, WholeCost

HEADS = ("family", "points", "sizes", "amount", "error", "tiles", "kink", "stopped")


@dataclass(frozen=True)
class FamilyRow:
    """One family of a profile."""

    family: str
    points: int
    low: Mapping[str, int]
    """Smallest measured size, by its name."""
    high: Mapping[str, int]
    least: float
    """Smallest measured cost of a call, in the profile's unit."""
    most: float
    error: float | None
    """Mean absolute relative error of each point predicted from all others; None where no cost is resolved, or of a
    single point."""
    tiles: Mapping[str, int]
    """Multiples that sizes are rounded up to, where they are above 1."""
    kink: float | None
    additive: bool
    stopped: str

    @classmethod
    def of(cls, found: ProfiledFamily) -> "FamilyRow":
        """The row of a family, from its points and its fit; nothing is fitted."""
        process, names = cost_process(found), found.family.free
        error = None if process is None or len(process.left_out_errors) < 2 else float(process.left_out_errors.mean())
        tiles = found.fit.tiles if found.fit is not None else ()
        return cls(
            str(found.family),
            len(found.amounts),
            dict(zip(names, found.low, strict=True)),
            dict(zip(names, found.high, strict=True)),
            float(found.amounts.min()),
            float(found.amounts.max()),
            error,
            {name: tile for name, tile in zip(names, tiles, strict=False) if tile > 1},
            found.kink,
            found.additive,
            found.stopped,
        )

    def cells(self, unit: str) -> tuple[str, ...]:
        """The row as words, in the order of `HEADS`."""
        sizes = [f"{name} {_range(low, self.high[name])}" for name, low in self.low.items()]
        kink = "-" if self.kink is None else f"{self.kink:+.1%}{'' if self.additive else ' (not additive)'}"
        return (
            self.family,
            str(self.points),
            ", ".join(sizes) or "-",
            f"{_range(f'{self.least:.3g}', f'{self.most:.3g}')} {unit}",
            "-" if self.error is None else f"{self.error:.1%}",
            ", ".join(f"{name} {tile}" for name, tile in self.tiles.items()) or "-",
            kink,
            self.stopped or "-",
        )


@dataclass(frozen=True)
class ProfileOverview:
    """A profile as plain values."""

    unit: str
    provenance: str
    made: str
    device: Mapping[str, Any]
    regime: Mapping[str, Any]
    meter: Mapping[str, Any]
    families: tuple[FamilyRow, ...]
    networks: Mapping[str, float]
    """Measured over summed cost of each whole network, by its name and place."""
    correction: SumCorrection
    """From sums of layers to whole networks."""
    notes: tuple[str, ...]

    @classmethod
    def of(cls, profile: EnergyProfile) -> "ProfileOverview":
        """The overview of a profile; nothing is fitted that the profile knows."""
        pairs = _measured_and_summed(profile)
        correction = SumCorrection.of([pair for _, pair in pairs])
        return cls(
            profile.unit,
            profile.provenance,
            profile.made,
            dict(profile.device),
            dict(profile.regime),
            dict(profile.meter),
            tuple(map(FamilyRow.of, profile.families)),
            {name: one.measured / one.summed for name, one in pairs},
            correction,
            profile.notes,
        )

    def facts(self) -> list[tuple[str, str]]:
        """Names and words of all but the families."""
        rows = [("made", self.made or "at an unknown time"), ("amounts", f"{self.unit}, {self.provenance}")]
        for name in ("device", "regime", "meter"):
            known = {key: value for key, value in getattr(self, name).items() if key != "reference_history"}
            words = ", ".join(f"{key.replace('_', ' ')} {_word(value)}" for key, value in known.items())
            rows.append((name, words or "not known"))
        if history := self.meter.get("reference_history"):
            spread = _range(f"{min(history):.3f}", f"{max(history):.3f}")
            rows.append(("reference", f"{len(history)} windows, {spread} times the cost of the first"))
        points = sum(row.points for row in self.families)
        rows.append(("families", f"{len(self.families)}, of {points} points"))
        ratios = list(self.networks.values())
        if ratios:
            spread = f"measured over summed cost {_range(f'{min(ratios):.3f}', f'{max(ratios):.3f}')}"
            rows.append(("networks", f"{len(ratios)}, {spread}"))
        else:
            rows.append(("networks", "none was measured, so that sums of layers are not checked"))
        rows.append(("correction", self._correction()))
        return [*rows, *(("note", note) for note in self.notes)]

    def _correction(self) -> str:
        found = self.correction
        words = [f"x {found.factor:.3f}"]
        words += [f"{found.step:.3g} {self.unit} a step"] if found.step else []
        words += [f"{found.layer_pass:.3g} {self.unit} a layer's pass"] if found.layer_pass else []
        return f"{' + '.join(words)}, sd {found.relative_sd:.1%} for a further network"

    def family_table(self) -> Sequence[tuple[str, ...]]:
        """The families as rows of words, with their heads."""
        return [HEADS, *(row.cells(self.unit) for row in self.families)]


def _measured_and_summed(profile: EnergyProfile) -> list[tuple[str, WholeCost]]:
    """Measured cost of each network, and the sum of its layers'; those without a sum are left out."""
    if not profile.families:
        return []
    predict = Thor()(replace(profile, calibration=()))
    pairs = [
        (f"{k}: {one.name}", WholeCost(one.amount, predict(one.step).amount, one.step.passes, one.step.steps))
        for k, one in enumerate(profile.calibration, 1)
    ]
    return [(name, pair) for name, pair in pairs if pair.summed > 0]


def _range(low: object, high: object) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _word(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float) and np.isfinite(value):
        return f"{value:.4g}"
    return " and ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
