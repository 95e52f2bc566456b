"""Checks before torch is imported: of paths, pictures and devices that a command line names.

An import of torch and diffusers takes seconds, a model's load up to a minute; a misspelt path is to answer at once.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intaglio.commands.kit.devices import check_device_name
from intaglio.commands.kit.parsing import positionals
from intaglio.errors import BadInput
from intaglio.models.embedded_models import EmbeddedModel

if TYPE_CHECKING:
    from intaglio.images.folder import Listing

WRITTEN = frozenset({"out", "plans", "runs", "to"})
"""Flags whose path the command writes; every other path is read."""
MODELS = frozenset({"base", "like", "model", "models", "purifying_model", "suspect"})
"""Flags of text-to-image models, which may be the name of an embedded one."""
OF_WEIGHTS = frozenset({".safetensors", ".gguf", ".json", ".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
"""Suffixes of the files of a model, pickled ones too."""
SIMILARITIES = frozenset({"similarity", "watch_similarity"})
"""Flags of a measure's name, or of a file of weights."""


def check_early(command: Any) -> None:
    """Raises `BadInput` for a path that is not there, pictures that a command cannot use, or a device of no such kind.

    A command may say in `picture_folders` which of its flags are folders of pictures, and ask more of these in
    `check_listed`, which is given the folders' lists by flag; in `folder_flag` which flag names a folder that it makes,
    in `made_files` which name files that it makes where there are none; whatever else it can tell without torch it
    tells in `check_early`.
    """
    words, made = positionals(type(command)), getattr(command, "made_files", ())
    for flag, value in _flags(command):
        if isinstance(value, str) and (flag == "device" or flag.endswith("_device")):
            check_device_name(flag, value)
    for flag, value in _flags(command):
        spelt = "" if flag in words else f" of --{flag.replace('_', '-')}"
        match value:
            case Path() if flag in WRITTEN or (flag in made and not value.exists()):
                _check_written(spelt, value, folder=flag in ("runs", getattr(command, "folder_flag", None)))
            case Path():
                _check_read(value, spelt, model=flag in MODELS)
            case str() if flag in SIMILARITIES and Path(value).suffix:
                _check_read(Path(value), spelt)
    listed = _listed(command)
    if listed and hasattr(command, "check_listed"):
        command.check_listed(listed)
    if hasattr(command, "check_early"):
        command.check_early()


def _flags(command: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of the flags of a command and its method, several values one by one."""
    for part in (command, getattr(command, "method", None)):
        if dataclasses.is_dataclass(part):
            for field in dataclasses.fields(part):
                value = getattr(part, field.name)
                yield from ((field.name, item) for item in (value if isinstance(value, tuple) else (value,)))


def _check_read(path: Path, spelt: str, *, model: bool = False) -> None:
    if path.exists() or (model and EmbeddedModel.named(path)):
        if model and path.exists() and not _may_hold_weights(path):
            raise BadInput(f"{path} is no model; give a diffusers folder or a .safetensors file")
        return
    if path.is_symlink():
        raise BadInput(f"{path} is a link that leads nowhere; check the path{spelt}")
    known = ", ".join(one.name for one in EmbeddedModel.known()) if model else ""
    neither = f", and no embedded model is called so ({known})" if model else ""
    raise BadInput(f"{path} does not exist{neither}; check the path{spelt}")


def _may_hold_weights(path: Path) -> bool:
    """Whether a path may be a model or an adapter, by names and first bytes; a pickle is told apart when it is read."""
    if path.is_dir():
        return any(inside.is_dir() or inside.suffix.lower() in OF_WEIGHTS for inside in path.iterdir())
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix.lower() in OF_WEIGHTS or file.read(4).startswith((b"GGUF", b"PK\x03\x04", b"\x80"))


def _check_written(spelt: str, path: Path, *, folder: bool) -> None:
    """A folder or file that is to be written lies below a folder, and not below a file; a folder is no file."""
    if folder and path.exists() and not path.is_dir():
        raise BadInput(f"the path{spelt}, {path}, is a file; give a folder")
    for above in path.parents:
        if above.exists():
            if not above.is_dir():
                raise BadInput(f"the path{spelt}, {path}, lies below {above}, which is a file; name another place")
            return


def _listed(command: Any) -> "dict[str, Listing]":
    """The pictures of each folder of pictures that is given, by flag, without one being opened."""
    given = {flag: getattr(command, flag) for flag in getattr(command, "picture_folders", ())}
    if not any(given.values()):
        return {}
    from intaglio.images.folder import list_pictures

    listed = {flag: list_pictures(path) for flag, path in given.items() if path is not None}
    for flag, listing in listed.items():
        if not given[flag].is_dir():
            _check_opens(listing)
    return listed


def _check_opens(listing: "Listing") -> None:
    """Raises `BadInput` for a file, named by itself, that is no picture."""
    from intaglio.images.decode import UnusableError, explained
    from intaglio.images.picture_file import open_picture

    for entry in listing.entries:
        try:
            with explained(entry.path), open_picture(entry.path):
                pass
        except UnusableError as error:
            raise BadInput(f"{entry.path} cannot be used: {error}") from error
