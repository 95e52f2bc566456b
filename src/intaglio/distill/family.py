"""Distillation: the contract of a method, which makes a student of a teacher."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch

from intaglio.distill.distillation_set import DistillationSet
from intaglio.distill.distilled import Distilled
from intaglio.errors import BadInput, require
from intaglio.learning.precision import MixedPrecision, check_precision
from intaglio.learning.settings import CosineSettings
from intaglio.models.capabilities import Encodes, HasWeights, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.baked_sampling import FREE
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.verbs import FileName


@dataclass(frozen=True, kw_only=True)
class Distiller(MixedPrecision, CosineSettings, ABC):
    """Settings of a distillation, and the student that it makes. The teacher is left as it was found."""

    name = FileName()
    """The method's name, which is that of its file."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasWeights)
    """What a teacher must be able to do (`intaglio.models.capabilities`)."""
    bench: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Settings of its rows in `intaglio bench sample`, where the defaults do not suit the embedded model."""

    steps: int = 2000
    """Updates of the student, at least 1."""
    batch: int = 32
    """Latents an update, at least 1."""
    micro_batch: int | None = None
    """Latents in memory at once, at least 1; None: the whole batch. The result is the same, up to rounding."""
    gradient_checkpointing: bool = False
    """Recompute the denoisers' activations in the backward pass: about a third slower, with less memory."""
    seed: int = 0
    """Seed of the training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_precision(self.precision)
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        part = self.micro_batch
        require(part is None or part >= 1, f"micro_batch must be at least 1, or None, not {part}")

    def check(self, teacher: LatentDiffusion) -> None:
        """Raises `BadInput` for a teacher that it cannot distil; called before any work."""
        check_needs(self, teacher)
        if teacher.dtype == torch.float16:
            raise BadInput(f"{teacher.name} is loaded in float16, in which updates vanish; load it in float32")
        if teacher.sampling != FREE:
            raise BadInput(f"{teacher.name} is distilled already; give its teacher")

    @property
    @abstractmethod
    def states(self) -> tuple[str, ...]:
        """Names of the states of a run, which are of no use once the student is there."""

    @abstractmethod
    def planned(self, teacher: LatentDiffusion) -> Calls:
        """Calls of networks of the whole training, rows of batches; those of the latents are not among them."""

    @abstractmethod
    def __call__(self, teacher: LatentDiffusion, data: DistillationSet, *, run: Run = Run.none()) -> Distilled:
        """The student; a run that was killed goes on and gives the same bits.

        Raises `BadInput` for a teacher that it cannot distil, `IntaglioError` for a loss that is not finite.
        """
