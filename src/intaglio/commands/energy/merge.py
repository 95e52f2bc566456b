"""`intaglio energy merge A B --out C`: profiles of one machine and session as one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from intaglio.commands.kit.console import say
from intaglio.errors import BadInput, require


@dataclass(frozen=True, kw_only=True)
class MergeEnergyProfiles:
    """Merge profiles of one machine and session: families of all of them, on the scale of the first.

    Each further profile is divided by one factor, known from the layers and networks that it shares with those before
    it. Profiles of two machines, units or kinds of meter are refused, and so is a factor outside of 0.8 to 1.25.
    """

    profiles: Annotated[Positional[tuple[Path, ...]], arg(metavar="PROFILE PROFILE ...")]
    """Two profiles or more, as .safetensors or .json; the first gives the scale."""
    out: Path
    """File of the merged profile, ending in .safetensors or .json."""
    overwrite: bool = False
    """Replace a file that is there already."""

    def __post_init__(self) -> None:
        require(len(self.profiles) >= 2, f"two profiles or more are merged into one, not {len(self.profiles)}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.energy.profile.merging import merged
        from intaglio.energy.profile.profile_file import check_suffix, load_profile, save_profile

        check_suffix(self.out)
        if self.out.exists() and not self.overwrite:
            raise BadInput(f"{self.out} exists; give another file to --out, or --overwrite to replace it")
        found = merged([load_profile(path) for path in self.profiles])
        written = save_profile(found.profile, self.out)
        for path, scale in zip(self.profiles[1:], found.scales, strict=True):
            known = f"from {scale.shared} shared layers and networks"
            say(f"{path}: divided by {scale.factor:.4f} (sd {scale.relative_sd:.2%}), {known}")
        say(f"{self.out}: {len(written.families)} families, {sum(len(one.amounts) for one in written.families)} points")
        return 0
