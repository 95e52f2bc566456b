"""What a stored piece of an audit was made with, and picture-by-picture work that goes on where it was killed."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run


def work_key(
    method: Any, suspect: LatentDiffusion, base: LatentDiffusion, prompt: str, without: tuple[str, ...] = ()
) -> str:
    """sha256 over settings, weights and prompt; settings in `without` do not change what is stored."""
    settings = {name: value for name, value in asdict(method).items() if name not in without}
    parts = (method.name, repr(sorted(settings.items())), suspect.fingerprint, base.part_fingerprint("autoencoder"))
    return hashlib.sha256("\n".join((*parts, base.fingerprint, prompt)).encode()).hexdigest()


def one_by_one(
    run: Run, kind: str, key: str, images: ImageSet, label: str, score: Callable[[ImageSet], dict[str, float]]
) -> dict[str, Float[Tensor, "n"]]:
    """The numbers that `score` gives for each picture, one picture at a time, each recorded as soon as it is known.

    Args:
        run: where the records of an earlier, killed call are found too.
        kind: of the records.
        key: `work_key`; a record made with another one is made again.
        images: the pictures.
        label: of the progress bar.
        score: from a set of one picture to numbers by name, the same names for every picture.
    """
    known = {name: value for name, value in run.recorded(kind).items() if value.get("key") == key}
    marks = dict(zip(images.names, images.hashes, strict=True))
    known = {name: value for name, value in known.items() if value.get("hash") == marks.get(name)}
    found: list[dict[str, float]] = []
    with run.progress(len(images), label, len(known)) as progress:
        for i, name in enumerate(images.names):
            if name not in known:
                values = score(images[i : i + 1])
                run.record(kind, name, {"key": key, "hash": marks[name], "values": values})
                known[name] = {"values": values}
                progress.advance()
            found.append(known[name]["values"])
    return {name: torch.tensor([values[name] for values in found]) for name in found[0]}
