"""The prompt of each training picture: its own caption, else the one for all, else the name of its kohya folder."""

import re
from collections.abc import Sequence

from intaglio.errors import BadInput

KOHYA_FOLDER = re.compile(r"\d+_([^/]+)/")


def picture_prompts(
    names: Sequence[str], captions: Sequence[str | None], fallback: str | None, flag: str
) -> tuple[str, ...]:
    """The prompt of each picture.

    Args:
        names: of the pictures below their folder, such as `10_sks dog/a.png`.
        captions: their own, or None; as many.
        fallback: the prompt of pictures without a caption.
        flag: that this prompt is given by, without dashes, for the error's sentence.

    Raises `BadInput` where a picture is left without one.
    """
    prompts, without = [], []
    for name, caption in zip(names, captions, strict=True):
        known = [text for text in (caption, fallback, _kohya_name(name)) if text is not None]
        prompts += known[:1]
        without += [] if known else [name]
    if without:
        lacking = f" and {len(without) - 1} more have" if len(without) > 1 else " has"
        raise BadInput(f"{without[0]}{lacking} no caption; give --{flag}, or a .txt file of the same name beside it.")
    return tuple(prompts)


def _kohya_name(name: str) -> str | None:
    match = KOHYA_FOLDER.match(name)
    return match[1] if match else None
