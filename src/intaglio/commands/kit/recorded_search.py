"""The noise that a picture records: by the search that chose it, a function of the picture's seed and a path."""

from pathlib import Path
from typing import TYPE_CHECKING

from intaglio.commands.kit.png_settings import PictureSettings
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.sampling.start import NoiseStart, Start


def recorded_start(
    recorded: PictureSettings, model: "LatentDiffusion", start: "NoiseStart", rows: int, picture: Path
) -> "Start":
    """The start of `rows` copies of a picture: the given one, from the noise that its search chose where there was one.

    Raises `BadInput` for settings that the search does not take.
    """
    from intaglio.sampling.search.best_noise import chosen_start
    from intaglio.sampling.search.searches import SEARCHES

    if recorded.search is None:
        return start
    try:
        search = SEARCHES[recorded.search.name](**recorded.search.settings)
        return chosen_start(search, model, [(recorded.seed, recorded.search.path)] * rows, start)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the search in {picture} is damaged or of another version ({error}); use its version") from None
