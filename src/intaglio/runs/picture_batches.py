"""Pictures scored in batches, resumed exactly after a kill: each picture's numbers are recorded when they are known."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.images.image_set import ImageSet
from intaglio.runs.fan_out import fan_out, workers_of_cluster
from intaglio.runs.run import Run


def content_order(images: ImageSet) -> list[int]:
    """The places of the pictures, sorted by content.

    Work that is cut in this order depends neither on the order of the files nor on a kill: the same pictures go
    through a network together, and so every rounding is the same.
    """
    return sorted(range(len(images)), key=lambda i: (images.hashes[i], images.names[i]))


def in_batches(
    run: Run, kind: str, key: str, images: ImageSet, score: Callable[[ImageSet], Mapping[str, Any]], *, batch: int = 1
) -> dict[str, Float[Tensor, "n"]]:
    """The numbers that `score` gives for each picture, in batches by `content_order`, each recorded when it is known.

    Args:
        run: where the records of an earlier, killed call are found too.
        kind: of the records, and the label of the progress.
        key: identity of the work; a record made with another one is made again.
        images: the pictures.
        score: from a batch of pictures to numbers by name, [n] each, the same names for every batch; inside
            `on_cluster` it is pickled with all that it refers to, and batches are scored there.
        batch: pictures in a call of `score`.
    """
    batches = parts_by_content(images, batch)
    known = _recorded(run, kind, key, images)
    left = [part for part in batches if not all(i in known for i in part)]
    with run.progress(len(batches), kind, len(batches) - len(left)) as progress:
        for part, found in fan_out(lambda part: score(images[part]), left, workers_of_cluster()):
            for row, i in enumerate(part):
                known[i] = {name: float(numbers[row]) for name, numbers in found.items()}
                record = {"key": key, "hash": images.hashes[i], "values": known[i]}
                run.record(kind, images.names[i], record)
            progress.advance()
    return {name: torch.tensor([known[i][name] for i in range(len(images))]) for name in known[0]}


def parts_by_content(images: ImageSet, size: int) -> list[list[int]]:
    """The places of the pictures in `content_order`, at most `size` at once."""
    order = content_order(images)
    return [order[start : start + size] for start in range(0, len(order), size)]


def _recorded(run: Run, kind: str, key: str, images: ImageSet) -> dict[int, dict[str, float]]:
    """The numbers recorded for each picture, by its place, where they are of this very work."""
    records, known = run.recorded(kind), dict[int, dict[str, float]]()
    for i, (name, content) in enumerate(zip(images.names, images.hashes, strict=True)):
        found = records.get(name, {})
        if (found.get("key"), found.get("hash")) == (key, content):
            known[i] = found["values"]
    return known
