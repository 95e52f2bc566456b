"""The start that a picture records, and its noise: by the search that chose it, a function of its seed and a path."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from intaglio.commands.kit.png_settings import PictureSettings, StartRecord
from intaglio.commands.kit.start_inputs import file_of, fitted_start, start_record
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

    if recorded.start is None or (known := recorded.start.search) is None:
        return start
    try:
        search = SEARCHES[known.name](**known.settings)
        return chosen_start(search, model, [(recorded.seed, known.path)] * rows, start)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the search in {picture} is damaged or of another version ({error}); use its version") from None


def recorded_start_flags(
    recorded: PictureSettings, pictures: Path | None, file: Path | None, picture: Path | None
) -> dict[str, Any]:
    """The flags of the start of a picture; what was fitted is taken from beside it, or from what is given.

    Args:
        recorded: what the picture says.
        pictures: `--start-pictures`, for a start that was fitted to pictures.
        file: `--start-file`, for one that was trained.
        picture: for the words of errors.

    Raises:
        BadInput: where it is not there, or where something is given to a start that takes none.
    """
    start, given = recorded.start, {"start_pictures": pictures, "start_file": file}
    kind = None if start is None else fitted_start(start.name)
    for name, path in given.items():
        if path is not None and (kind is None or name != kind.given_by):
            raise BadInput(f"{picture} was drawn from {_words(start)}; leave --{name.replace('_', '-')} out")
    if start is None or start.hash is None or kind is None:
        return {} if start is None else {"start": start.name, "from_step": start.first}
    beside = Path() if picture is None else picture.parent / file_of(start.hash)
    if (data := given[kind.given_by]) is None and not beside.is_file():
        raise BadInput(f"there is no fitted start {beside}, from which {picture} was drawn; {kind.remedy}")
    return {"start": start.name, "from_step": start.first, kind.given_by: data or beside}


def _words(start: StartRecord | None) -> str:
    """A start in words."""
    return "unit noise" if start is None or start.hash is None else f"a start by {start.name}"


def refuse_another_start(picture: Path, recorded: PictureSettings, start: "NoiseStart") -> None:
    """Raises `BadInput` for a start that was fitted to other data than the recorded one."""
    known = recorded.start
    if start_record(start, known and known.search) == known:
        return
    kind = None if known is None else fitted_start(known.name)
    remedy = "leave --start out" if kind is None else kind.remedy
    raise BadInput(f"{picture} was drawn from {_words(known)} of other data; {remedy}")
