"""The method that a picture records: its settings as JSON, and the method that they make again."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from intaglio.errors import BadInput
from intaglio.files import folder_hash
from intaglio.models.embedded_models import EmbeddedModel
from intaglio.printable import is_text
from intaglio.runs.plain_json import digest
from intaglio.verbs import VERBS

if TYPE_CHECKING:
    from intaglio.commands.kit.png_settings import PictureSettings
    from intaglio.sampling.family import SamplingMethod

LIKE = "like:"
"""Before the folder in the words of a verifier."""
NAMED, HASHED = "name", "sha256"
"""Keys of a setting that is a file, or several."""
LONGEST_TEXT = 2**16
"""Letters of the longest text among the settings."""


def stored_settings(method: Any) -> dict[str, Any]:
    """The settings of a method as JSON has them.

    Of a path its name alone, since the rest says where things are kept, beside the hash of what is there. Raises
    `BadInput` for one that is not there.
    """
    values = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    return {
        name: {NAMED: _plain(value), HASHED: digest(_hashed(value))} if _is_path(value) else _plain(value)
        for name, value in values.items()
    }


def hashed_settings(method: Any) -> dict[str, Any]:
    """The settings of a method, with the content's hash in place of each file, folder and embedded model.

    Raises `BadInput` for one that is not there.
    """
    values = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    return {name: _hashed(value) for name, value in values.items()}


def recorded_method(recorded: "PictureSettings", given: "SamplingMethod", picture: Path | None) -> "SamplingMethod":
    """The method that drew a picture.

    Files that its settings name are taken from `given`, the method on the command line, which must else be the default.
    Raises `BadInput` for a method that is not there or is another one, for settings that it does not take, and for
    files that are not given.
    """
    from intaglio.bench.kit.methods import default_method

    if recorded.method not in VERBS["sample"].methods:
        raise BadInput(f"{picture} was drawn by the method {recorded.method!r}, which is not here; use its version")
    if given.name not in (VERBS["sample"].default, recorded.method):
        raise BadInput(
            f"{picture} was drawn by {recorded.method}, not by {given.name}; give {recorded.method}, or no method"
        )
    default = default_method("sample", recorded.method)
    known = {field.name for field in dataclasses.fields(default)}
    hints, taken, missing = get_type_hints(type(default)), {}, {}
    for name, stored in recorded.method_settings.items():
        value, known_hash = _parted(stored)
        if name not in known or not fits(value, getattr(default, name)):
            raise BadInput(f"the settings in {picture} are none of {recorded.method}'s ({name}); use its version")
        if given.name == recorded.method and _names_files(getattr(given, name)):
            taken[name] = _same_files(name, getattr(given, name), known_hash, picture)
        elif value and isinstance(value, str | list) and Path in get_args(hints[name]):
            missing[f"--{name.replace('_', '-')}"] = value if isinstance(value, str) else " ".join(value)
        else:
            taken[name] = tuple(value) if isinstance(value, list) else value
    if missing:
        files, flags = ", ".join(missing.values()), ", ".join(missing)
        raise BadInput(f"{picture} was drawn with {files}; give {recorded.method} and {flags} beside --replay")
    try:
        return dataclasses.replace(default, **taken)
    except (ValueError, TypeError) as error:
        raise BadInput(f"the settings in {picture} do not go together: {error}") from None


def _parted(value: Any) -> tuple[Any, str | None]:
    """A stored value, and the hash of its files where it names some."""
    if isinstance(value, dict) and set(value) == {NAMED, HASHED} and isinstance(value[HASHED], str):
        return value[NAMED], value[HASHED]
    return value, None


def _same_files(name: str, value: Any, known: str | None, picture: Path | None) -> Any:
    """The files that a command gives. Raises `BadInput` where the picture was drawn with others."""
    if known is not None and _is_path(value) and digest(_hashed(value)) != known:
        flag = f"--{name.replace('_', '-')}"
        raise BadInput(f"{picture} was drawn with another file than {flag} {value}; give that one")
    return value


def without_folder(verifier: str) -> str:
    """The words of a verifier with the name of its folder alone, and any other text as it is."""
    return LIKE + Path(verifier.removeprefix(LIKE)).name if _names_files(verifier) else verifier


def _names_files(value: Any) -> bool:
    """Whether a setting's value is a path or some, or the words of a verifier with one."""
    return _is_path(value) or (isinstance(value, str) and value.startswith(LIKE))


def _is_path(value: Any) -> bool:
    """Whether a setting's value is a path, or several."""
    return isinstance(value, Path) or (isinstance(value, tuple) and any(isinstance(one, Path) for one in value))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str):
        return without_folder(value)
    if isinstance(value, tuple):
        return [one.name if isinstance(one, Path) else one for one in value]
    return value


def _hashed(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_hashed, value))
    if not isinstance(value, Path):
        return value
    return folder_hash(value if (model := EmbeddedModel.named(value)) is None else model.folder)


def fits(value: Any, default: Any) -> bool:
    """Whether a value from JSON may stand where a setting has this default."""
    if isinstance(value, list):
        return isinstance(default, tuple) and all(fits(one, None) for one in value)
    if isinstance(value, str):
        return not isinstance(default, bool | int | float | tuple) and is_text(value) and len(value) <= LONGEST_TEXT
    if value is None or default is None:
        return value is None or isinstance(value, bool | int | float)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    return isinstance(value, int if isinstance(default, int) else int | float) and not isinstance(default, str | tuple)
