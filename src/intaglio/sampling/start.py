"""Starts of a sampling: the latents at the first node of the grid, and the timestep of that node."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.runs.plain_json import digest
from intaglio.sampling.grid import NoiseLevel
from intaglio.sampling.guide import GuideContext


@runtime_checkable
class Start(Protocol):
    """A sampling's first latents, and their timestep."""

    @property
    def first(self) -> int | None:
        """Timestep of the grid's first node; None takes the schedule's last."""
        ...

    @property
    def hash(self) -> str | None:
        """64 hex digits that change with what it was fitted to or given; None for nothing but noise."""
        ...

    def __call__(
        self, context: GuideContext, level: NoiseLevel, rows: Sequence[int], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "n c h w"]:
        """Latents of n pictures at the grid's first node, `level`, float64 on the CPU.

        `rows` are the pictures' places among all that are drawn, `generators` their sources of noise, of which each
        picture takes its own alone.
        """
        ...


@runtime_checkable
class NoiseStart(Start, Protocol):
    """A start that is a function of unit noise, which a search may therefore choose."""

    @property
    def noises(self) -> int:
        """Unit noises of the latents' shape that a picture takes; they lie one after the other along the channels."""
        ...

    def from_noise(self, noise: Float[Tensor, "n k h w"], level: NoiseLevel) -> Float[Tensor, "n c h w"]:
        """The latents at the grid's first node by unit noise of `noises` times c channels, float64 on the CPU."""
        ...


@runtime_checkable
class FittedStart(NoiseStart, Protocol):
    """A start that was fitted to data or trained, and is kept as a file beside the pictures."""

    given_by: ClassVar[str]
    """The setting of a command that gives the data or the file, `start_pictures` or `start_file`."""
    must_be_given: ClassVar[bool]
    """Whether there is no start without it."""
    remedy: ClassVar[str]
    """The end of an error's sentence where it is missing or another."""

    @property
    def name(self) -> str:
        """As a command line has it."""
        ...

    @property
    def hash(self) -> str:
        """64 hex digits that change with what was fitted."""
        ...

    def save(self, path: Path) -> None:
        """Writes what was fitted as a safetensors file."""
        ...


@dataclass(frozen=True)
class UnitNoise:
    """Standard normal noise, whatever the level."""

    first: int | None = None

    noises = 1

    @property
    def hash(self) -> None:
        """None: it is noise alone."""
        return None

    def __call__(
        self, context: GuideContext, level: NoiseLevel, rows: Sequence[int], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "n c h w"]:
        """Unit noise, drawn in float32."""
        return self.from_noise(unit_noise(latent_shape(context), generators), level)

    def from_noise(self, noise: Float[Tensor, "n c h w"], level: NoiseLevel) -> Float[Tensor, "n c h w"]:
        """The noise itself."""
        return noise.double().cpu()


@dataclass(frozen=True, eq=False)
class GivenLatents:
    """Latents of every picture, such as the noises that a search chose."""

    latents: Float[Tensor, "all c h w"]
    first: int | None = None

    @property
    def hash(self) -> str:
        """Of the latents."""
        return digest(self.latents.tolist())

    def __call__(
        self, context: GuideContext, level: NoiseLevel, rows: Sequence[int], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "n c h w"]:
        """The latents of these rows; the generators are drawn from as for unit noise, and what they give is dropped."""
        unit_noise(latent_shape(context), generators)
        return self.latents[list(rows)].double().cpu()


def latent_shape(context: GuideContext) -> tuple[int, int, int]:
    """Channels, height and width of the latents of a picture of the model's own resolution."""
    return latent_shape_of(context.model)


def latent_shape_of(model: LatentDiffusion) -> tuple[int, int, int]:
    """The same, of a model outside of a sampling."""
    side = model.resolution // model.factor
    return model.latent_channels, side, side
