"""Prompts of a command: lines of a file, and the names of the files that are drawn from them."""

import re
from pathlib import Path

from intaglio.commands.kit.png_settings import LONGEST_PROMPT
from intaglio.data_files import read_text
from intaglio.errors import BadInput


def read_prompts(path: Path, flag: str = "--prompts") -> list[str]:
    """The lines of a file that are not blank. Raises `BadInput` for a file without one, and for one too long."""
    try:
        lines = read_text(path).split("\n")
    except BadInput as error:
        raise BadInput(f"{flag} {error}") from None
    if not (found := [line.strip() for line in lines if line.strip()]):
        raise BadInput(f"{flag} {path} has no prompt in it; write one on each line")
    if too_long := [number for number, line in enumerate(lines, 1) if len(line) > LONGEST_PROMPT]:
        raise BadInput(f"{flag} {path} has {len(lines[too_long[0] - 1]):,} letters in line {too_long[0]}; shorten it")
    return found


def file_stem(prompt: str) -> str:
    """The first 40 letters and digits of a prompt, lower case, with dashes between words."""
    return re.sub(r"\W+", "-", prompt.lower()).strip("-")[:40].strip("-") or "picture"
