"""The time of a profile, before it begins: the measurements that its rules allow, in windows of the device."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean

from intaglio.energy.devices.torch_device import TorchDevice
from intaglio.energy.layers.layer import LayerFamily, SizedLayer, Step
from intaglio.energy.profile.active import most_points
from intaglio.energy.profile.family_bounds import Bounds, bounds_of
from intaglio.energy.profile.isolation import DepthSlope
from intaglio.energy.profile.profiling import SMALL_SHARE, ProfilePlan, WholeNetwork, rules_of
from intaglio.energy.profile.stored_device import EVERY
from intaglio.runs.time_plan import TimePlan

SLOPE = DepthSlope().copies


def profile_time(
    device: TorchDevice, steps: Sequence[Step], networks: Sequence[WholeNetwork], plan: ProfilePlan, second_flops: float
) -> TimePlan:
    """Seconds at most of all families and networks, on a machine at rest.

    Families end before their most points where they are known well enough. A machine that is not at rest takes more
    windows for a measurement and makes some again, neither of which is counted.

    Args:
        device: whose windows and repeats are taken.
        steps: the work to be covered.
        networks: measured whole, once before and once after the families.
        plan: rules, isolation, tests of additivity.
        second_flops: operations a second of this device, for steps that are longer than a window; above 0.
    """
    asked = bounds_of([*steps, *(network.step for network in networks)])
    copies = SLOPE if plan.isolation == "slope" else (1,)
    families, points = 0.0, 0
    for family, bounds in asked.items():
        of_family = points_of(bounds, plan)
        layer_s = _usual_flops(family, bounds) / second_flops
        families += of_family * sum(device.measurement_seconds(count * layer_s) for count in copies)
        if plan.kinks and bounds.share >= SMALL_SHARE and plan.isolation != "slope":
            families += device.measurement_seconds(SLOPE[-1] * layer_s)
        points += of_family
    whole = sum(2 * device.measurement_seconds(network.step.flops / second_flops) for network in networks)
    looks = (len(copies) * points + 2 * len(networks)) / EVERY * device.measurement_seconds(0.0)
    head = f"points     {points:,} at most of {len(asked)} families, and {len(networks)} networks"
    return TimePlan({"families": families, "networks": whole, "looks at the reference": looks}, head, at_most=True)


def points_of(bounds: Bounds, plan: ProfilePlan) -> int:
    """Most points of a family: one where nothing differs."""
    differing = sum(low < high for low, high in zip(bounds.low, bounds.high, strict=True))
    return most_points(rules_of(bounds, plan.rules), differing) if differing else 1


def _usual_flops(family: LayerFamily, bounds: Bounds) -> float:
    """Operations of a layer: the mean of the smallest, the largest, and that in the middle by logarithm."""
    middle = tuple(round(sqrt(low * high)) for low, high in zip(bounds.low, bounds.high, strict=True))
    return fmean(SizedLayer(family, sizes).flops for sizes in (bounds.low, middle, bounds.high))
