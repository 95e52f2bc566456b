"""Copies of models on disk for worker processes, written once and read once by each process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from intaglio.files import TEMPORARY
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
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
    sent: Sent | None = None
    """The models in a cluster's memory, where the work is done there."""

    def models(self) -> tuple[LatentDiffusion, ...]:
        """The models; a worker process reads its copies at the first call."""
        if self.sent is not None:
            return self.sent.value()
        return self.here or _read(self.paths, self.dtypes)


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
        for model, path in zip(models, paths, strict=True):
            model.save(path)
        yield SharedModels(paths=paths, dtypes=tuple(model.dtype for model in models))


@lru_cache(maxsize=1)
def _read(paths: tuple[Path, ...], dtypes: tuple[torch.dtype, ...]) -> tuple[LatentDiffusion, ...]:
    return tuple(load_model(path, dtype=dtype) for path, dtype in zip(paths, dtypes, strict=True))
