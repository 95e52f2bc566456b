"""`isolation_of`: the way in which one family is isolated, in a profile that is asked for one way for all."""

from collections.abc import Mapping, Sequence
from typing import Literal

from intaglio.energy.layers.layer import LayerFamily
from intaglio.energy.processes.family_process import family_process
from intaglio.energy.profile.energy_profile import ProfiledFamily
from intaglio.energy.profile.family_bounds import Bounds
from intaglio.energy.profile.isolation import Alone, DepthSlope, Isolation, Neighbour, Subtraction

IsolationName = Literal["slope", "alone", "subtraction"]
LAYERED = ("convolution", "linear")
"""Kinds that have channels in and out, and so may stand between an input and an output layer."""
TIMES_STARTS = 2
"""Starting points of the fits of neighbours."""


def in_order(name: IsolationName, asked: Mapping[LayerFamily, Bounds]) -> list[tuple[LayerFamily, Bounds]]:
    """The families in the order in which they are measured: for subtraction the output, inputs, then all others."""
    rows = list(asked.items())
    if name != "subtraction":
        return rows
    outputs = _outputs(asked)
    return sorted(rows, key=lambda row: 0 if row[0] in outputs else 1 if _is_input(row[0]) else 2)


def isolation_of(
    name: IsolationName, family: LayerFamily, asked: Mapping[LayerFamily, Bounds], known: Sequence[ProfiledFamily]
) -> Isolation | None:
    """The isolation of one family.

    Subtraction takes for the output layer the linear family of each precision that is trained, has layers before it and
    is least of the work; for input layers those that are trained and give no gradient of their input.

    Args:
        name: what is asked for: `slope`, `alone` or `subtraction` (`intaglio.energy.profile.isolation`).
        family: to be measured.
        asked: all families of the profile, with their bounds.
        known: those that were measured, in the order of `in_order`.

    Returns:
        None where subtraction is asked for, and no input and output layers fit the family.
    """
    if name != "subtraction":
        return Alone() if name == "alone" else DepthSlope()
    if family in (outputs := _outputs(asked)):
        return Alone()
    if family.kind not in LAYERED or not (family.train and family.weight_grad):
        return None
    bounds = asked[family]
    head = _neighbour([one for one in known if one.family in outputs], family, bounds, "c_in", "c_out")
    if _is_input(family) or head is None:
        return None if head is None else Subtraction(head=head)
    stem = _neighbour([one for one in known if _is_input(one.family)], family, bounds, "c_out", "c_in")
    return None if stem is None else Subtraction(stem, head)


def _is_input(family: LayerFamily) -> bool:
    return family.kind in LAYERED and family.train and family.weight_grad and not family.input_grad


def _outputs(asked: Mapping[LayerFamily, Bounds]) -> set[LayerFamily]:
    """The output family of each precision."""
    found: dict[str, LayerFamily] = {}
    for family in sorted(asked, key=lambda one: (asked[one].share, one)):
        if family.kind == "linear" and family.train and family.input_grad and family.weight_grad:
            found.setdefault(family.dtype, family)
    return set(found.values())


def _neighbour(
    candidates: Sequence[ProfiledFamily], family: LayerFamily, bounds: Bounds, theirs: str, ours: str
) -> Neighbour | None:
    """The first family whose channels `theirs` were measured over all of `ours`; None where there is none."""
    low, high = (dict(zip(family.free, sizes, strict=True)) | dict(family.fixed) for sizes in (bounds.low, bounds.high))
    for one in candidates:
        measured = dict(zip(one.family.free, zip(one.low, one.high, strict=True), strict=True))
        if one.family.dtype != family.dtype or theirs not in measured or not len(one.points.resolved.costs):
            continue
        if (
            measured[theirs][0] <= low[ours]
            and high[ours] <= measured[theirs][1]
            and len(one.time_points.resolved.costs)
        ):
            costs, times = (
                family_process(points, one.low, one.high, starts=TIMES_STARTS)
                for points in (one.points, one.time_points)
            )
            return Neighbour(one.family, one.low, one.high, theirs, ours, costs, times)
    return None
