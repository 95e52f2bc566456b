"""Starts that `intaglio sample train` makes, by name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.start import FittedStart
from intaglio.sampling.starts.transport import TransportStart
from intaglio.sampling.trained_part import TrainedPart

Made = Callable[[TrainedPart, LatentDiffusion, int | None], FittedStart]
STARTS: Mapping[str, Made] = {"ot": TransportStart.of}
"""From a part, its model and the first timestep, None for the part's own, to the start."""


def trained_start(name: str, path: Path, model: LatentDiffusion, first: int | None) -> FittedStart:
    """The start in a file. Raises `BadInput` for another file, another model's, and a timestep that it cannot have."""
    return STARTS[name](TrainedPart.load(path, name, model), model, first)
