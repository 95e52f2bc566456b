"""Start in noise that a flow has led to what a verifier likes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.sampling.grid import NoiseLevel
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.start import latent_shape
from intaglio.sampling.starts.noise_flow import NoiseFlow
from intaglio.sampling.trained_part import TrainedPart


@dataclass(frozen=True, eq=False)
class LedNoise:
    """Unit noise through a trained flow, at the schedule's last timestep, for the steps that it was trained by.

    Source: PromptGen (arXiv 2209.06970).
    """

    part: TrainedPart
    first: None = None

    name = "promptgen"
    given_by: ClassVar[str] = "start_file"
    must_be_given: ClassVar[bool] = True
    remedy: ClassVar[str] = "give the file that intaglio sample train promptgen wrote by --start-file"
    noises = 1

    @classmethod
    def of(cls, part: TrainedPart, model: LatentDiffusion, first: int | None) -> "LedNoise":
        """The start by a trained part. Raises `BadInput` for a timestep: its flow is of the noise at the last one."""
        if first is not None:
            raise BadInput("the start promptgen begins at the last timestep; leave --from-step out")
        return cls(part)

    @property
    def hash(self) -> str:
        """That of the trained part."""
        return self.part.hash

    def save(self, path: Path) -> None:
        """Writes the trained part."""
        self.part.save(path)

    def __call__(
        self, context: GuideContext, level: NoiseLevel, rows: Sequence[int], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "n c h w"]:
        """From the unit noise of each picture. Raises `BadInput` for other steps than those of the training."""
        trained = self.part.facts["timesteps"]
        if list(context.timesteps) != trained:
            raise BadInput(f"the start promptgen was trained for {len(trained)} steps; give --steps {len(trained)}")
        return self.from_noise(unit_noise(latent_shape(context), generators), level)

    def from_noise(self, noise: Float[Tensor, "n c h w"], level: NoiseLevel) -> Float[Tensor, "n c h w"]:
        """The noise through the flow, float64 on the CPU."""
        with torch.no_grad():
            return self._flow(noise.cpu().float().flatten(1))[0].view(noise.shape).double()

    @cached_property
    def _flow(self) -> NoiseFlow:
        settings, size = self.part.settings, int(self.part.facts["size"])
        flow = NoiseFlow(size, settings["blocks"], settings["width"], settings["seed"])
        flow.load_state_dict(dict(self.part.tensors))
        return flow
