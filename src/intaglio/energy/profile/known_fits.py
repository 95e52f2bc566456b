"""`with_fits`: a profile whose families know their tiles and hyper-parameters, so that no estimate need find them."""

from dataclasses import replace

from intaglio.energy.processes.family_process import (
    FamilyFit,
    FamilyPoints,
    FamilyProcess,
    family_process,
    known_process,
)
from intaglio.energy.profile.energy_profile import EnergyProfile, ProfiledFamily


def with_fits(profile: EnergyProfile) -> EnergyProfile:
    """The profile with the fits that it lacks; a family below the meter's resolution has none."""
    return replace(profile, families=tuple(map(_fitted, profile.families)))


def cost_process(found: ProfiledFamily) -> FamilyProcess | None:
    """The process of a family's costs by its fit; None where it has none, or no cost above the meter's resolution."""
    if found.fit is None or not len(found.points.resolved.costs):
        return None
    return known_process(found.points, found.low, found.high, found.fit)


def _fitted(found: ProfiledFamily) -> ProfiledFamily:
    """Times are rounded up to the tiles of the costs: one kernel takes both."""
    fit = found.fit or _fit(found, found.points)
    return replace(found, fit=fit, time_fit=found.time_fit or _fit(found, found.time_points, fit))


def _fit(found: ProfiledFamily, points: FamilyPoints, like: FamilyFit | None = None) -> FamilyFit | None:
    if not len(points.resolved.costs):
        return None
    return family_process(points, found.low, found.high, tiles=None if like is None else like.tiles).fit
