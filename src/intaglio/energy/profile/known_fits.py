"""`with_fits`: a profile whose families know their tiles and hyper-parameters, so that no estimate need find them."""

from dataclasses import replace

from intaglio.energy.processes.family_process import FamilyFit, FamilyPoints, family_process
from intaglio.energy.profile.energy_profile import EnergyProfile, ProfiledFamily


def with_fits(profile: EnergyProfile) -> EnergyProfile:
    """The profile with the fits that it lacks; a family below the meter's resolution has none."""
    return replace(profile, families=tuple(map(_fitted, profile.families)))


def _fitted(found: ProfiledFamily) -> ProfiledFamily:
    return replace(
        found, fit=found.fit or _fit(found, found.points), time_fit=found.time_fit or _fit(found, found.time_points)
    )


def _fit(found: ProfiledFamily, points: FamilyPoints) -> FamilyFit | None:
    if not len(points.resolved.costs):
        return None
    return family_process(points, found.low, found.high).fit
