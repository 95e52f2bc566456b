"""Profiles of a machine on which an operation of a product, or a byte of all else, costs the same everywhere."""

from pathlib import Path

import numpy as np

from intaglio.energy.layers.layer import SizedLayer
from intaglio.energy.machine_profile import own_profile_path
from intaglio.energy.processes.family_process import FamilyFit
from intaglio.energy.processes.matern_process import Hyper
from intaglio.energy.profile.edge_probes import corners
from intaglio.energy.profile.energy_profile import CalibrationNetwork, EnergyProfile, ProfiledFamily
from intaglio.energy.profile.family_bounds import bounds_of
from intaglio.energy.profile.fingerprint import fingerprint
from intaglio.energy.profile.profile_file import save_profile

RATE = 1e-9
"""Joules, and seconds, of an operation or a byte."""


def planted_profile(steps, unit="J", networks=()):
    """A profile of this machine that covers these steps; a layer costs `RATE` times its work, and nothing is fitted.

    `networks`: steps that count as networks which were measured whole.
    """
    here = fingerprint()
    families = tuple(_planted(family, bounds) for family, bounds in bounds_of(steps).items())
    about = {"device": dict(here.device), "regime": dict(here.regime), "meter": {"name": "planted"}}
    whole = [CalibrationNetwork("planted", one, planted_cost(one), 0.0, planted_cost(one)) for one in networks]
    return EnergyProfile(unit, "measured-counter", families, tuple(whole), **about)


def plant(steps, home: Path, **further) -> Path:
    """Saves such a profile as the one of the machine of `home`, which must be the user's home; returns its path."""
    path = own_profile_path()
    assert path.is_relative_to(home), "the home of the test is not set"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_profile(planted_profile(steps, **further), path)
    return path


def planted_cost(step):
    """What the machine takes for a step, in closed form."""
    return RATE * sum(calls * layer.work for layer, calls in step.layers.items())


def _planted(family, bounds):
    sizes = np.array(corners(bounds.low, bounds.high), np.int64).reshape(-1, len(bounds.low))
    costs = np.array([RATE * SizedLayer(family, tuple(row)).work for row in sizes.tolist()])
    varied = sum(low < high for low, high in zip(bounds.low, bounds.high, strict=True))
    fit = FamilyFit((1,) * len(bounds.low), Hyper((0.5,) * varied))
    spread = (1e-3 * costs) ** 2
    return ProfiledFamily(
        family, bounds.low, bounds.high, sizes, costs, spread, costs, spread, fit=fit, time_fit=fit, stopped="planted"
    )
