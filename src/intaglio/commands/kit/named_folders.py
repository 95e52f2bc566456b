"""Words NAME=FOLDER of a command line."""

import re
from collections.abc import Sequence
from pathlib import Path

from intaglio.errors import BadInput

NAME = re.compile(r"\w[\w .+-]{0,59}")


def named_folders(flag: str, words: Sequence[str], what: str) -> dict[str, Path]:
    """The folder of each name, in their order.

    Args:
        flag: that the words belong to, with its dashes.
        words: NAME=FOLDER.
        what: a name is of, in the singular, such as `source`.

    Raises `BadInput` for words that name no folder, and for a name given twice.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not equals or not folder or not NAME.fullmatch(name):
            raise BadInput(
                f"{flag} takes NAME=FOLDER, the name of at most 60 letters, digits, blanks, dots, + or -, not {word!r}"
            )
        if name in found:
            raise BadInput(f"two folders are of the {what} {name}; give each a name of its own")
        found[name] = Path(folder)
    return found
