"""The profile by which this machine's work is estimated: its own, or one that is given."""

from dataclasses import dataclass
from pathlib import Path

from intaglio.energy.device_match import DeviceMatch, check_device
from intaglio.energy.profile.energy_profile import EnergyProfile
from intaglio.energy.profile.fingerprint import fingerprint
from intaglio.energy.profile.profile_file import load_profile
from intaglio.errors import BadInput


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


def needed_profile(device: str = "cpu", path: Path | None = None) -> MachineProfile:
    """As `machine_profile`. Raises `BadInput` where there is none."""
    if (found := machine_profile(device, path)) is None:
        raise BadInput(f"there is no profile of {device}; make one with intaglio energy profile --device {device}")
    return found
