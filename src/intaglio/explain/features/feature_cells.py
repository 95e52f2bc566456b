"""Cells of features: numbers of pictures from one place of a network, at one noise level where there is one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.scored_network import ScoredNetwork
from intaglio.runs.plain_json import digest
from intaglio.runs.tensors import write_state

FILE = "features.safetensors"


@dataclass(frozen=True, eq=False)
class ProbedNetworks:
    """Networks that features are read from; a method asks for one of them, or for none."""

    model: LatentDiffusion | None = None
    """A text-to-image model, for methods that ask for its denoiser or its autoencoder."""
    encoder: Embedding | None = None
    scored: ScoredNetwork | None = None
    """A classifier, in place of the encoder."""

    @cached_property
    def hash(self) -> str:
        """64 hex digits that change with the networks."""
        model = None if self.model is None else self.model.fingerprint
        encoder = None if self.encoder is None else self.encoder.hash
        return digest([model, encoder, None if self.scored is None else self.scored.hash])


@dataclass(frozen=True)
class FeatureCell:
    """A place that features are read at."""

    site: str
    """In words, such as a module's name."""
    timestep: int | None = None
    """Noise level of the denoiser; None where nothing is noised."""

    @property
    def name(self) -> str:
        """Of the cell, in words."""
        return self.site if self.timestep is None else f"{self.site} at t = {self.timestep}"


@dataclass(frozen=True, eq=False)
class CellFeatures:
    """Features of the same pictures in each cell."""

    names: tuple[str, ...]
    """Of n pictures."""
    values: Mapping[FeatureCell, Float[Tensor, "n _"]]
    """Float32 on the CPU; cells may have different numbers of features."""

    @property
    def cells(self) -> tuple[FeatureCell, ...]:
        """Of all features, in their order."""
        return tuple(self.values)

    def save(self, folder: Path) -> None:
        """Writes `features.safetensors`: a tensor [n, d] a cell by its name, and the pictures' names as its note."""
        tensors = {cell.name: rows for cell, rows in self.values.items()}
        write_state(folder / FILE, tensors, {"names": list(self.names)})


def pooled(maps: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n d"]:
    """Means of maps over a grid of side x side cells, d = c side^2, float32 on the CPU."""
    return torch.nn.functional.adaptive_avg_pool2d(maps.float(), side).flatten(1).cpu()
