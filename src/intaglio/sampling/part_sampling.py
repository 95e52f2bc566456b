"""Sampling methods that draw with a part which `intaglio sample train` trained for the model."""

from abc import ABC
from dataclasses import dataclass
from pathlib import Path

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.family import SamplingMethod, SamplingRequest
from intaglio.sampling.trained_part import TrainedPart


@dataclass(frozen=True, kw_only=True)
class PartSampling(SamplingMethod, ABC):
    """A method with a trained part of the model, which the trainer of the same name made."""

    part: Path | None = None
    """The file that `intaglio sample train` wrote for this method and model."""

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` without the file, and for one of another trainer or model."""
        super().check(request)
        self.trained(request.model)

    def trained(self, model: LatentDiffusion) -> TrainedPart:
        """The part in the file. Raises `BadInput` without it, and for one of another trainer or model."""
        if self.part is None:
            raise BadInput(
                f"{self.name} draws with a trained part; give --part, the file that intaglio sample train {self.name} "
                f"wrote for {model.name}"
            )
        return TrainedPart.load(self.part, self.name, model)
