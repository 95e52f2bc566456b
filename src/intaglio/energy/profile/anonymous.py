"""`without_owner`: a document without names of hosts and users, paths, unique identifiers and serial numbers."""

import getpass
import platform
import re
from collections.abc import Iterator, Mapping
from typing import Any

from intaglio.errors import require

REMOVED = "(removed)"
UNIQUE = re.compile(
    # Each part begins where no letter of it stands before, so that long texts of strangers take linear time.
    r"(?:(?:GPU|MIG)-)?\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"  # UUIDs, with NVIDIA's prefix
    r"|\b(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}\b"  # addresses of network cards
    r"|(?<![\w.+-])[\w.+-]++@[\w-]+\.[\w.-]+"  # addresses of mail
    r"|(?<![\w/\\.])(?:~|[A-Za-z]:)?[/\\]++[\w.~-]++[/\\][^\s\"']*"  # absolute paths of two parts or more
)
FORBIDDEN = re.compile(r"(?i)(?:^|_)(?:host|hostname|node|user|username|uuid|serial|path|folder|home|mac|ip)(?:$|_)")
"""Keys of facts that tell whose machine it is; serial numbers have no shape by which they could be found."""
SHORTEST = 4
"""Names of fewer letters are also parts of other words."""


def without_owner(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a document's texts without what tells whose machine they come from.

    Unique identifiers, addresses and absolute paths go everywhere; this machine's and its user's names, as whole words,
    in all texts but those of facts, where a user called `nvidia` would take the vendor away. Raises `ValueError` for a
    fact whose key names an owner, such as `serial` or `hostname`.
    """
    for name in ("device", "regime", "meter"):
        for key in document.get(name, {}):
            require(not FORBIDDEN.search(key), f"{name} holds {key!r}, which tells whose machine it is; leave it out")
    names = [re.escape(name) for name in _own_names() if len(name) >= SHORTEST]
    own = re.compile(rf"(?<!\w)(?:{'|'.join(names)})(?!\w)") if names else None

    def cleaned(value: Any, place: str) -> Any:
        if isinstance(value, str):
            text = UNIQUE.sub(REMOVED, value)
            return own.sub(REMOVED, text) if own and place in ("notes", "name", "stopped") else text
        if isinstance(value, Mapping):
            return {key: cleaned(inner, key) for key, inner in value.items()}
        return [cleaned(inner, place) for inner in value] if isinstance(value, list) else value

    return {key: cleaned(value, key) for key, value in document.items()}


def _own_names() -> Iterator[str]:
    """Names of this machine, whole and up to the first dot, and of its user."""
    host = platform.node()
    yield host
    yield host.partition(".")[0]
    try:
        yield getpass.getuser()
    except (OSError, KeyError, ImportError):  # no user database, as in some containers
        return
