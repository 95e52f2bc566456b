"""`save_profile` and `load_profile`: an `EnergyProfile` in one file that can be given to others, and read from them.

A `.safetensors` file holds the measured points as arrays and all else as JSON in its header; a `.json` file holds the
same with lists. Both carry one SHA-256, over the content as JSON with sorted keys. Nothing is ever unpickled.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from intaglio.data_files import Fields, parse_json, read_bytes
from intaglio.energy.profile.anonymous import without_owner
from intaglio.energy.profile.energy_profile import EnergyProfile
from intaglio.energy.profile.known_fits import with_fits
from intaglio.energy.profile.profile_document import COLUMNS, from_document, to_document
from intaglio.errors import BadInput
from intaglio.files import atomic_write

FORMAT, SCHEMA = "intaglio-energy-profile", 1
"""Mark and version of the content."""
LARGEST = 16 * 2**20
"""Largest file, in bytes."""
SUFFIXES = (".safetensors", ".json")
PICKLES = (b"\x80", b"PK")
"""First bytes of a pickle, and of an archive of torch with one inside."""
NOTE = "intaglio"
"""Key of the JSON in the header of a `.safetensors` file."""
AGAIN = "copy the file again, or make a profile with intaglio energy profile"


def save_profile(profile: EnergyProfile, path: Path) -> EnergyProfile:
    """Writes a profile, by its suffix as `.safetensors` or `.json`, atomically.

    Tiles and hyper-parameters that are not known yet are found first, so that no reader need fit. Names of hosts and
    users, paths and unique identifiers are taken out of its texts.

    Returns:
        The profile as a reader will find it.

    Raises:
        BadInput: another suffix, or a profile of more than 16 MB.
        ValueError: values that no profile can have, or a fact that tells whose machine it is.
        IntaglioError: the disk refuses.
    """
    path = Path(path)
    check_suffix(path)
    document = without_owner({"format": FORMAT, "schema": SCHEMA, **to_document(with_fits(profile))})
    try:
        document["sha256"] = content_hash(document)
        written = from_document(Fields.of(document, "the profile", ""))
    except BadInput as error:
        raise ValueError(str(error)) from error
    content = _packed(document) if path.suffix == ".safetensors" else json.dumps(document, indent=1).encode()
    if len(content) > LARGEST:
        raise BadInput(f"{path} would be larger than {LARGEST // 2**20} MB; profile fewer families, or save two files")
    atomic_write(path, content)
    return written


def load_profile(path: Path) -> EnergyProfile:
    """Reads a profile, which may come from a stranger; nothing is fitted.

    Raises:
        BadInput: no such file, one above 16 MB, of another kind or of a later version; a value that cannot be; content
            that is not what its SHA-256 says.
    """
    path = Path(path)
    check_suffix(path)
    content = read_bytes(path, LARGEST)
    try:
        document = _unpacked(content, path) if path.suffix == ".safetensors" else parse_json(content, str(path), AGAIN)
    except BadInput:
        if content.startswith(PICKLES):  # asked last, for the length of a header can begin with the same byte
            raise BadInput(f"{path} holds a pickle, which is never loaded; {AGAIN}") from None
        raise
    table = Fields.of(document, str(path), AGAIN)
    table.text("format", among=[FORMAT])
    if (schema := table.whole("schema")) != SCHEMA:
        raise BadInput(f"{path} has schema {schema}, and this version of Intaglio reads {SCHEMA}; update Intaglio")
    profile = from_document(table)
    if table.text("sha256") != content_hash(document):
        raise BadInput(f"{path} was changed after it was made: its SHA-256 does not fit its content; {AGAIN}")
    return profile


def content_hash(document: dict[str, Any]) -> str:
    """SHA-256 of a document without its own, as JSON with sorted keys: the same in either format.

    Raises `ValueError` for NaN and infinities.
    """
    kept = {key: value for key, value in document.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def check_suffix(path: Path) -> None:
    """Raises `BadInput` for a path that is no profile by its name."""
    if path.suffix not in SUFFIXES:
        raise BadInput(f"{path} is no profile of energy by its name; profiles end in {' or '.join(SUFFIXES)}")


def _packed(document: dict[str, Any]) -> bytes:
    """A document as safetensors, with the columns of its families as arrays."""
    arrays, families = {}, []
    for index, table in enumerate(document["families"]):
        rest = {key: value for key, value in table.items() if key not in COLUMNS.values()}
        families.append(rest)
        for column in COLUMNS.values():
            dtype = np.int64 if column == "sizes" else np.float64
            shape = (len(table[column]), len(table["low"])) if column == "sizes" else (len(table[column]),)
            arrays[f"families.{index}.{column}"] = np.array(table[column], dtype).reshape(shape)
    return save(arrays, {NOTE: json.dumps({**document, "families": families})})


def _unpacked(content: bytes, path: Path) -> Any:
    """The document of a `.safetensors` file. Raises `BadInput` where it cannot be read."""
    try:
        arrays = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} cannot be read as safetensors ({error}); {AGAIN}") from error
    header = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")], str(path), AGAIN)
    about = Fields.of(header, str(path), AGAIN).table("__metadata__", Fields({}, str(path), AGAIN))
    document = parse_json(about.text(NOTE), str(path), AGAIN)
    tables = document.get("families") if isinstance(document, dict) else None
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BadInput(f"{path} holds no profile of energy; {AGAIN}")
    for index, table in enumerate(tables):
        for column in COLUMNS.values():
            array = arrays.pop(f"families.{index}.{column}", np.zeros(0))
            if array.dtype != (np.int64 if column == "sizes" else np.float64) or not np.isfinite(array).all():
                raise BadInput(f"{path} holds {column} of family {index} as {array.dtype}, or not finite; {AGAIN}")
            table[column] = array.tolist()
    if arrays:
        raise BadInput(f"{path} holds {min(arrays)}, which is no part of a profile; {AGAIN}")
    return document
