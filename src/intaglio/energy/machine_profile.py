"""The profile by which this machine's work is estimated: its own, a given one, or the one that ships."""

from dataclasses import dataclass, replace
from pathlib import Path

from intaglio.energy.device_match import DeviceMatch, check_device
from intaglio.energy.profile.energy_profile import EnergyProfile
from intaglio.energy.profile.fingerprint import fingerprint
from intaglio.energy.profile.profile_file import load_profile
from intaglio.errors import BadInput
from intaglio.files import PACKAGE

SHIPPED = PACKAGE / "energy" / "shipped" / "two-core-processor.safetensors"
"""Profile of the embedded models on a processor of two cores, in processor seconds."""


@dataclass(frozen=True, eq=False)
class MachineProfile:
    """A profile with what is to be said of it."""

    profile: EnergyProfile
    match: DeviceMatch


def own_profile_path(device: str = "cpu") -> Path:
    """Place of the profile of one kind of device, below the user's home."""
    return Path.home() / ".local" / "share" / "intaglio" / "energy" / f"{device.partition(':')[0]}.safetensors"


def machine_profile(device: str = "cpu", path: Path | None = None) -> MachineProfile | None:
    """The profile of a device: the given one, else this machine's own; None where there is none.

    What differs between its machine and this one widens intervals and is told of. Raises `BadInput` for a file that
    cannot be read.
    """
    own = path or own_profile_path(device)
    if path is None and not own.is_file():
        return None
    profile = load_profile(own)
    return MachineProfile(profile, check_device(profile, fingerprint(device), "warn"))


def known_profile(device: str = "cpu", path: Path | None = None) -> MachineProfile:
    """As `machine_profile`, and for a processor without one the profile that ships, labelled as another machine's.

    Raises `BadInput` where there is none.
    """
    found = machine_profile(device, path)
    if found is not None or device.partition(":")[0] != "cpu" or not SHIPPED.is_file():
        return found or needed_profile(device, path)
    profile = load_profile(SHIPPED)
    match = check_device(profile, fingerprint(device), "warn")
    said = "the profile is the one that ships, of another machine; intaglio energy profile makes one of this"
    return MachineProfile(profile, replace(match, origin=said))


def needed_profile(device: str = "cpu", path: Path | None = None) -> MachineProfile:
    """As `machine_profile`. Raises `BadInput` where there is none."""
    if (found := machine_profile(device, path)) is None:
        raise BadInput(f"there is no profile of {device}; make one with intaglio energy profile --device {device}")
    return found
