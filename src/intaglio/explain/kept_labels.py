"""Labels of pictures that are read: those that enough pictures have."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from intaglio.errors import BadInput
from intaglio.printable import one_line

LEAST = 5
"""Pictures of a label, or groups that have it, below which it is dropped."""
FEW = 10
"""Pictures of a label below which its share of right answers is said to rest on few."""
SHOWN = 5
"""Labels that a warning names."""


@dataclass(frozen=True, eq=False)
class KeptLabels:
    """The pictures of one column whose label enough pictures have."""

    column: str
    classes: tuple[str, ...]
    """In the order of the alphabet."""
    rows: Int[ndarray, "m"]
    """Places of the pictures."""
    codes: Int[ndarray, "m"]
    """Their classes."""
    groups: Int[ndarray, "m"]
    """The group of each; each its own where none are given."""
    dropped: tuple[tuple[str, int], ...]
    """Labels of too few pictures, and how many those are."""


def kept_labels(
    labels: Mapping[str, Sequence[str]], groups: Sequence[str] | None, least: int
) -> tuple[KeptLabels, ...]:
    """The columns of which two labels or more have `least` pictures, or as many groups; others are left out.

    Args:
        labels: texts by column, one of each of n pictures, empty where it is not known.
        groups: of each picture; an empty text stands for a group of its own.
        least: from 1.

    Raises `BadInput` where no column is left.
    """
    found = [_kept(column, texts, groups, least) for column, texts in labels.items()]
    left = tuple(one for one in found if len(one.classes) > 1)
    if not left:
        what = f"{least} {'pictures' if groups is None else 'groups'}"
        columns = ", ".join(one_line(name) for name in labels)
        raise BadInput(f"no column ({columns}) has two labels of {what} or more; give more labelled pictures")
    return left


def _kept(column: str, texts: Sequence[str], groups: Sequence[str] | None, least: int) -> KeptLabels:
    named = [group or f"\0{place}" for place, group in enumerate(groups or [""] * len(texts))]
    having = defaultdict[str, set[str]](set)
    for text, group in zip(texts, named, strict=True):
        having[text].add(group)
    classes = sorted(text for text, those in having.items() if text and len(those) >= least)
    place = {one: number for number, one in enumerate(classes)}
    rows = [k for k, text in enumerate(texts) if text in place]
    dropped = [(text, list(texts).count(text)) for text in sorted(having) if text and text not in place]
    codes = np.array([place[texts[k]] for k in rows], np.int64)
    own = np.unique([named[k] for k in rows], return_inverse=True)[1] if rows else codes
    return KeptLabels(column, tuple(classes), np.array(rows, np.int64), codes, own.astype(np.int64), tuple(dropped))


def check_parts(kept: KeptLabels, held: Bool[ndarray, "m"]) -> None:
    """Raises `BadInput` where one part has no picture of a label."""
    for part, what in ((~held, "to learn from"), (held, "to be asked about")):
        missing = sorted(set(range(len(kept.classes))) - set(np.unique(kept.codes[part]).tolist()))
        if missing:
            raise BadInput(
                f"no picture of {one_line(kept.classes[missing[0]])} is left {what}; give more groups of it, or "
                "another seed"
            )


def few_warnings(
    column: str, classes: Sequence[str], counts: Sequence[int], dropped: Sequence[tuple[str, int]], grouped: bool
) -> list[str]:
    """Sentences about labels that were left out, and about those of few pictures.

    Args:
        column: of the labels.
        classes: those that are read.
        counts: their pictures.
        dropped: labels that are left out, and their pictures.
        grouped: whether groups of pictures are given.
    """
    found = []
    if dropped:
        few = ", ".join(f"{name} ({count})" for name, count in dropped[:SHOWN])
        more = f" and {len(dropped) - SHOWN} more" if len(dropped) > SHOWN else ""
        what = "too few groups of pictures" if grouped else "too few pictures"
        found.append(f"labels of {column} with {what} are left out: {few}{more}")
    scarce = [(name, count) for name, count in zip(classes, counts, strict=True) if count < FEW]
    if scarce:
        few = ", ".join(f"{name} ({count})" for name, count in scarce[:SHOWN])
        found.append(
            f"some labels of {column} have fewer than {FEW} pictures: {few}; their share of right answers, which "
            "weighs as much as any other's, rests on those"
        )
    return found
