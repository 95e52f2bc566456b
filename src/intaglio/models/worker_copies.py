"""Copies of models for worker processes: written to disk once, read by each process once."""

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


@dataclass(frozen=True)
class SharedModels:
    """Models within a process, or paths to copies of them between processes."""

    here: tuple[LatentDiffusion, ...] = ()
    """The models themselves, for work in this process."""
    paths: tuple[Path, ...] = ()
    """Folders of their copies, for work in others."""
    dtypes: tuple[torch.dtype, ...] = ()
    """The precision of each copy."""

    def models(self) -> tuple[LatentDiffusion, ...]:
        """The models, read where this process has not read them yet."""
        return self.here or _read(self.paths, self.dtypes)


@contextmanager
def shared_models(
    models: Sequence[LatentDiffusion], workers: int, folder: Path | None = None
) -> Iterator[SharedModels]:
    """The models for `workers` processes: as they are for one, else as files that last as long as the block.

    Pickling them for every piece of work would copy gigabytes each time. Workers compute on the CPU. The files lie in
    `folder`, a run's, which clears away what a killed process left; without one among the system's temporary files.
    """
    if workers == 1:
        yield SharedModels(here=tuple(models))
        return
    with TemporaryDirectory(prefix=TEMPORARY, dir=folder) as temporary:
        paths = tuple(Path(temporary) / str(place) for place in range(len(models)))
        for model, path in zip(models, paths, strict=True):
            model.save(path)
        yield SharedModels(paths=paths, dtypes=tuple(model.dtype for model in models))


@lru_cache(maxsize=1)
def _read(paths: tuple[Path, ...], dtypes: tuple[torch.dtype, ...]) -> tuple[LatentDiffusion, ...]:
    return tuple(load_model(path, dtype=dtype) for path, dtype in zip(paths, dtypes, strict=True))
