"""A profile of a device: every family of the asked work measured within its bounds, and networks that check the sum."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from intaglio.energy.devices.device import Device, Measurement
from intaglio.energy.layers.layer import LayerFamily, SizedLayer, Step
from intaglio.energy.profile.active import ActiveRules, measured_again, pooled, profile_family
from intaglio.energy.profile.energy_profile import CalibrationNetwork, EnergyProfile, ProfiledFamily
from intaglio.energy.profile.family_bounds import Bounds, bounds_of
from intaglio.energy.profile.isolation import DepthSlope, Isolation, kink_of
from intaglio.energy.profile.isolation_choice import IsolationName, in_order, isolation_of
from intaglio.energy.profile.known_fits import with_fits
from intaglio.energy.profile.stored_device import StoredDevice
from intaglio.errors import IntaglioError
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run

SMALL_SHARE, FEW_POINTS = 0.02, 4
"""Families of less than this share of all work are measured at so many points for each size, and no more."""
MOST_DRIFT = 0.05
"""Change of the networks' costs between the beginning and the end of a profile that is told of."""


@dataclass(frozen=True, eq=False)
class WholeNetwork:
    """A network to be measured as it is."""

    name: str
    step: Step
    measure: Callable[[], Measurement]


@dataclass(frozen=True)
class ProfilePlan:
    """The rules of a profile."""

    rules: ActiveRules = field(default_factory=ActiveRules)
    isolation: IsolationName = "slope"
    """How the cost of one layer is told from that of a step."""
    kinks: bool = True
    """Whether the additivity of each family is tested at its centre."""


def make_profile(
    device: Device,
    steps: Sequence[Step],
    networks: Sequence[WholeNetwork],
    about: Mapping[str, Any],
    plan: ProfilePlan | None = None,
    run: Run = Run.none(),
) -> EnergyProfile:
    """Profiles a device for the layers of `steps`, the costliest families first.

    Each measurement is stored as soon as it is made, so that an interrupted profile goes on where it was, and told in
    terms of the reference at the start, for a machine that drifts meanwhile (`StoredDevice`). Families that have no
    probe are left out with a note, and will count as not covered.

    Args:
        device: what measures.
        steps: the work to be covered; its layers give families and bounds, and the points are chosen for it.
        networks: whole networks, whose sums give the correction; never those that are to be predicted.
        about: further fields of the profile, as `EnergyProfile` names them.
        plan: rules, isolation, tests of additivity; None takes the defaults.
        run: keeps the measurements, unless the device is a `StoredDevice` that keeps them already.
    """
    stored = device if isinstance(device, StoredDevice) else StoredDevice(device, run)
    plan = plan or ProfilePlan()
    asked = bounds_of([*steps, *(network.step for network in networks)])
    with run.progress(len(asked) + 2 * len(networks), "families and networks") as progress:
        before = _whole(stored, networks, "before", progress)
        families, notes = _families(stored, asked, steps, plan, {}, progress.advance)
        after = _whole(stored, networks, "after", progress)
    stored.settle()
    families, _ = _families(stored, asked, steps, plan, {one.family: one for one in families})
    measured, drift = _averaged(networks, *([stored.kept(*one) for one in asked] for asked in (before, after)))
    if drift > MOST_DRIFT:
        notes.append(
            f"networks cost {drift:.0%} more or less after the profile than before it: the machine was not at rest"
        )
    notes += stored.notes
    facts = {"isolation": plan.isolation, "reference_history": stored.history}
    about = {**about, "meter": {**about.get("meter", {}), **facts}}
    profile = EnergyProfile(
        unit=device.unit, families=pooled(families), calibration=tuple(measured), notes=tuple(notes), **about
    )
    return with_fits(profile)


def _averaged(
    networks: Sequence[WholeNetwork], before: Sequence[Measurement], after: Sequence[Measurement]
) -> tuple[list[CalibrationNetwork], float]:
    """The networks with the means of both measurements, and the median change between them over the mean."""
    found, drifts = list[CalibrationNetwork](), [0.0]
    for network, one, two in zip(networks, before, after, strict=True):
        amount, seconds = (one.amount + two.amount) / 2, (one.seconds + two.seconds) / 2
        found.append(CalibrationNetwork(network.name, network.step, amount, (one.variance + two.variance) / 4, seconds))
        drifts.append(abs(two.amount - one.amount) / amount if amount else 0.0)
    return found, float(np.median(drifts[1:] or drifts))


def _families(
    device: StoredDevice,
    asked: Mapping[LayerFamily, Bounds],
    steps: Sequence[Step],
    plan: ProfilePlan,
    chosen: Mapping[LayerFamily, ProfiledFamily],
    done: Callable[[], object] = lambda: None,
) -> tuple[list[ProfiledFamily], list[str]]:
    """The families that can be measured, and sentences on the others.

    For those of `chosen` the same points are taken again; `done` is called after each family.
    """
    families, notes, sloped = list[ProfiledFamily](), list[str](), list[str]()
    for family, bounds in in_order(plan.isolation, asked):
        isolate = isolation_of(plan.isolation, family, asked, families)
        if isolate is None:
            sloped.append(str(family))
        try:
            isolate = isolate or DepthSlope()
            families.append(_family(device, isolate, family, bounds, _target(family, steps), plan, chosen.get(family)))
        except IntaglioError as error:
            notes.append(f"not profiled: {error}")
        done()
    if sloped:
        notes.append(f"by depth slope, for want of input and output layers that fit: {'; '.join(sloped)}")
    return families, notes


def rules_of(bounds: Bounds, rules: ActiveRules) -> ActiveRules:
    """The rules for one family: fewer points where it is little of all work, and nobody says how many."""
    if bounds.share >= SMALL_SHARE or rules.points is not None:
        return rules
    differing = sum(a < b for a, b in zip(bounds.low, bounds.high, strict=True))
    return replace(rules, points=max(1, FEW_POINTS * differing), edges=min(rules.edges, 1))


def _family(
    device: StoredDevice,
    isolate: Isolation,
    family: LayerFamily,
    bounds: Bounds,
    target: list[tuple[SizedLayer, float]],
    plan: ProfilePlan,
    chosen: ProfiledFamily | None,
) -> ProfiledFamily:
    rules = rules_of(bounds, plan.rules)
    if chosen is None:
        found = profile_family(device, isolate, family, bounds.low, bounds.high, rules, target)
    else:
        found = measured_again(device, isolate, chosen)
    if not plan.kinks or bounds.share < SMALL_SHARE:
        return found
    middle = found.sizes[np.argsort(found.amounts)[len(found.amounts) // 2]]
    kink = kink_of(device, SizedLayer(family, tuple(map(int, middle))))
    return replace(found, kink=kink.share, additive=kink.additive)


def _target(family: LayerFamily, steps: Sequence[Step]) -> list[tuple[SizedLayer, float]]:
    calls: dict[SizedLayer, float] = {}
    for step in steps:
        for layer, count in step.layers.items():
            if layer.family == family:
                calls[layer] = calls.get(layer, 0.0) + count
    return list(calls.items())


def _whole(
    device: StoredDevice, networks: Sequence[WholeNetwork], when: str, progress: Progress
) -> list[tuple[str, Callable[[], Measurement]]]:
    """Measures each network as it is, once `before` and once `after` its layers; gives their names and measurements."""
    asked = [(f"network {network.name} {when}", network.measure) for network in networks]
    for key, measure in asked:
        device.kept(key, measure)
        progress.advance()
    return asked
