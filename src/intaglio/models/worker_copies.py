"""Copies of models on disk for worker processes, written once and read once by each process."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from intaglio.files import TEMPORARY
from intaglio.models.diffusion.adapted import Adapted
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA
from intaglio.runs.cluster import Sent, joined


@dataclass(frozen=True)
class SharedModels:
    """Models in memory, or paths of their copies; the latter can be pickled cheaply."""

    here: tuple[LatentDiffusion, ...] = ()
    """The models themselves, where the work is done in this process."""
    paths: tuple[Path, ...] = ()
    """Folders of their copies, where it is done in other processes."""
    dtypes: tuple[torch.dtype, ...] = ()
    """The precision of each copy."""
    adapters: tuple[tuple[str, float] | None, ...] = ()
    """The LoRA beside each copy, with its strength; copies of one folder share its weights."""
    sent: Sent | None = None
    """The models in a cluster's memory, where the work is done there."""

    def models(self) -> tuple[LatentDiffusion, ...]:
        """The models; a worker process reads its copies at the first call."""
        if self.sent is not None:
            return self.sent.value()
        return self.here or _read(self.paths, self.dtypes, self.adapters)


@contextmanager
def shared_models(
    models: Sequence[LatentDiffusion], workers: int, folder: Path | None = None
) -> Iterator[SharedModels]:
    """The models for `workers` processes: in memory for one, else as copies on disk that last as long as the block.

    Pickling them with every job would copy gigabytes each time. Workers compute on the CPU. The copies lie in
    `folder`, that of a run, which removes those of a killed process; without one, in the system's temporary folder.
    Inside `on_cluster` the models are sent once, and compute on the devices that they are on here.
    """
    if workers == 1:
        yield SharedModels(here=tuple(models))
        return
    if (cluster := joined()) is not None:
        yield SharedModels(sent=cluster.send(tuple(models)))
        return
    with TemporaryDirectory(prefix=TEMPORARY, dir=folder) as temporary:
        paths = tuple(Path(temporary) / str(index) for index in range(len(models)))
        adapters = tuple(_adapter(model) for model in models)
        beside = zip(models, adapters, strict=True)
        wholes = [model.base if isinstance(model, Adapted) and found else model for model, found in beside]
        places = tuple(paths[wholes.index(whole)] for whole in wholes)
        for path in dict.fromkeys(places):
            wholes[places.index(path)].save(path)
        yield SharedModels(paths=places, dtypes=tuple(model.dtype for model in models), adapters=adapters)


def _adapter(model: LatentDiffusion) -> tuple[str, float] | None:
    """The file and the strength of the LoRA that acts beside a model's weights; None without one, or without a file."""
    if not isinstance(model, Adapted) or not Path(model.adapter.source).exists():
        return None
    return model.adapter.source, model.strength


@lru_cache(maxsize=1)
def _read(
    paths: tuple[Path, ...], dtypes: tuple[torch.dtype, ...], adapters: tuple[tuple[str, float] | None, ...]
) -> tuple[LatentDiffusion, ...]:
    read = {(path, dtype): load_model(path, dtype=dtype) for path, dtype in zip(paths, dtypes, strict=True)}
    wholes = [read[where] for where in zip(paths, dtypes, strict=True)]
    return tuple(
        whole if found is None else _beside(whole, *found) for whole, found in zip(wholes, adapters, strict=True)
    )


def _beside(base: LatentDiffusion, file: str, strength: float) -> LatentDiffusion:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left out was said of the model itself
        return Adapted(base, LoRA.read(file), strength, allow_unmatched=True)
