"""Words NAME=PATH of a command line."""

import re
from collections.abc import Sequence
from pathlib import Path

from intaglio.errors import BadInput

NAME = re.compile(r"\w[\w .+-]{0,59}")


def named_paths(flag: str, words: Sequence[str], form: str, what: str) -> dict[str, Path]:
    """Paths by name, in their order.

    Args:
        flag: that the words belong to, with its dashes.
        words: as they were given.
        form: of a word, in an error, such as NAME=FOLDER.
        what: has the names, in the plural, such as `sources`.

    Raises `BadInput` for words of another form, and for a name given twice.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not path or not NAME.fullmatch(name):
            raise BadInput(
                f"{flag} takes {form}, the name of at most 60 letters, digits, blanks, dots, + or -, not {word!r}"
            )
        if name in found:
            raise BadInput(f"two {what} are called {name}; give each a name of its own")
        found[name] = Path(path)
    return found
