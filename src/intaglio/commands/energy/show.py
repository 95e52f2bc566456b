"""`intaglio energy show PROFILE`: the machine, the families and the errors of a profile of energy."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from intaglio.commands.kit.console import say, say_json
from intaglio.printable import aligned


@dataclass(frozen=True, kw_only=True)
class ShowEnergyProfile:
    """Show a profile of energy: its machine, what was measured in which bounds, and how well it predicts itself.

    The error of a family is that of each of its points predicted from all others. The kink is what the first copy of a
    layer costs beyond each further one, over a layer's cost; a family is additive where that is within its noise or
    5%. Networks are whole ones that were measured: their cost over that of their layers gives the correction.
    """

    profile: Annotated[Positional[Path], arg(metavar="PROFILE")]
    """A profile, as .safetensors or .json."""
    json: bool = False
    """Print one line of JSON in place of tables."""

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.energy.profile.profile_file import load_profile
        from intaglio.energy.profile_overview import ProfileOverview

        found = ProfileOverview.of(load_profile(self.profile))
        if self.json:
            say_json(asdict(found))
        else:
            say(aligned(found.facts()))
            say()
            say(aligned(found.family_table()))
        return 0
