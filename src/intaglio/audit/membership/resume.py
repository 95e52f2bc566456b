"""Work on the pictures of an audit in batches, recorded as it goes, so that a killed audit goes on where it was."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.family import AuditInputs
from intaglio.images.image_set import ImageSet
from intaglio.runs.run import Run


def work_key(method: Any, inputs: AuditInputs, without: Iterable[str] = ()) -> str:
    """sha256 over settings, weights and prompt; settings in `without` do not change what is stored."""
    settings = {name: value for name, value in asdict(method).items() if name not in without}
    autoencoder = inputs.reference.part_fingerprint("autoencoder")
    base = "" if inputs.base is None else inputs.base.fingerprint
    parts = (method.name, repr(sorted(settings.items())), inputs.suspect.fingerprint, autoencoder, base, inputs.prompt)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def in_batches(
    run: Run, kind: str, key: str, images: ImageSet, score: Callable[[ImageSet], Mapping[str, Any]], *, batch: int = 1
) -> dict[str, Float[Tensor, "n"]]:
    """The numbers that `score` gives for each picture, in batches of fixed content, each recorded when it is known.

    Batches are cut from the pictures in the order of their content, so that neither the order of the files nor a kill
    changes which pictures go through a network together, and with that no rounding.

    Args:
        run: where the records of an earlier, killed call are found too.
        kind: of the records, and the label of the progress.
        key: `work_key`; a record made with another one is made again.
        images: the pictures.
        score: from a batch of pictures to numbers by name, [n] each, the same names for every batch.
        batch: pictures in a call of `score`.
    """
    order = sorted(range(len(images)), key=lambda i: (images.hashes[i], images.names[i]))
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    known = {i: values for i in order if (values := _recorded(run, kind, key, images, i)) is not None}
    left = [part for part in batches if not all(i in known for i in part)]
    with run.progress(len(batches), kind, len(batches) - len(left)) as progress:
        for part in left:
            found = score(images[part])
            for row, i in enumerate(part):
                known[i] = {name: float(numbers[row]) for name, numbers in found.items()}
                record = {"key": key, "hash": images.hashes[i], "values": known[i]}
                run.record(kind, images.names[i], record)
            progress.advance()
    return {name: torch.tensor([known[i][name] for i in range(len(images))]) for name in known[0]}


def _recorded(run: Run, kind: str, key: str, images: ImageSet, index: int) -> dict[str, float] | None:
    found = run.recorded(kind).get(images.names[index])
    if found is None or (found.get("key"), found.get("hash")) != (key, images.hashes[index]):
        return None
    return found["values"]
