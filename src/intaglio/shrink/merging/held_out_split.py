"""Held-out pictures of a merge: halves by content, one to choose models by, one to judge the result by."""

from collections.abc import Sequence

from intaglio.errors import BadInput


def held_out_halves(hashes: Sequence[str]) -> tuple[list[int], list[int]]:
    """Places of the pictures to choose by and of those to judge by, by content, so that no copy is in both.

    Raises `BadInput` where all pictures are the same.
    """
    distinct = sorted(set(hashes))
    if len(distinct) < 2:
        raise BadInput(
            "one half of the pictures chooses and the other judges, so two different ones or more are due; give a "
            "folder with more"
        )
    choosing = set(distinct[::2])
    return (
        [place for place, one in enumerate(hashes) if one in choosing],
        [place for place, one in enumerate(hashes) if one not in choosing],
    )
