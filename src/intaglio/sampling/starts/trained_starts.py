"""Fitted starts by name, and the reading of those that `intaglio sample train` makes."""

from collections.abc import Mapping
from pathlib import Path

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.start import FittedStart
from intaglio.sampling.starts.analytic import AnalyticStart
from intaglio.sampling.starts.led_noise import LedNoise
from intaglio.sampling.starts.transport import TransportStart
from intaglio.sampling.trained_part import TrainedPart

TRAINED = {start.name: start for start in (TransportStart, LedNoise)}
"""Starts that are made of a trained part."""
FITTED: Mapping[str, type[FittedStart]] = {AnalyticStart.name: AnalyticStart, **TRAINED}
"""Classes of all starts but unit noise."""


def trained_start(name: str, path: Path, model: LatentDiffusion, first: int | None) -> FittedStart:
    """The start in a file. Raises `BadInput` for another file, another model's, and a timestep that it cannot have."""
    return TRAINED[name].of(TrainedPart.load(path, name, model), model, first)
