"""Start by optimal transport: unit noise is sent to states of the model's own trajectories, each as often."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.sampling.grid import NoiseLevel, level_at
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.start import latent_shape
from intaglio.sampling.trained_part import TrainedPart

Source = Literal["normal", "uniform"]
AT_ONCE = 2**24
"""Products of points and states that are formed at once, which bounds memory."""


@dataclass(frozen=True, eq=False)
class TransportStart:
    """Latents near the state that optimal transport sends a point of unit noise to, with fresh noise on top.

    Of states y_1..y_N with heights h, a point x goes to the one of largest ⟨x, y_i⟩ + h_i. A state has the signal s'
    and the noise n' of its timestep, and is raised to signal s and noise n of the start's with fresh unit noise ξ:

        s / s' · y + sqrt(n² - (s n' / s')²) · ξ

    A picture takes two unit noises, one for the point and one for ξ.

    Source: DPM-OT (arXiv 2307.11308), which starts from the state itself.
    """

    part: TrainedPart
    at: NoiseLevel
    """Level of the states."""
    first: int
    """Timestep of the first node."""

    name = "ot"
    given_by: ClassVar[str] = "start_file"
    must_be_given: ClassVar[bool] = True
    remedy: ClassVar[str] = "give the file that intaglio sample train ot wrote by --start-file"
    noises = 2

    @classmethod
    def of(cls, part: TrainedPart, model: LatentDiffusion, first: int | None) -> "TransportStart":
        """The start by a trained part, from a timestep, or from the part's own.

        Raises `BadInput` for a timestep of less noise than the states have, and for a part that does not fit.
        """
        states, heights = part.tensor("states"), part.tensor("heights")
        side = model.resolution // model.factor
        if states.shape[1:] != (model.latent_channels, side, side) or heights.shape != (len(states),):
            raise BadInput(f"the trained part of ot holds no states of {model.name}; train it again")
        t = int(part.facts["states_at"])
        first = int(part.facts["from_step"]) if first is None else first
        if first < t:
            raise BadInput(f"the start has states at timestep {t}, and cannot begin at {first}; use {t} or more")
        return cls(part, level_at(model.schedule, t), first)

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
        """From two unit noises of each picture."""
        channels, height, width = latent_shape(context)
        return self.from_noise(unit_noise((2 * channels, height, width), generators), level)

    def from_noise(self, noise: Float[Tensor, "n k h w"], level: NoiseLevel) -> Float[Tensor, "n c h w"]:
        """The latents by two unit noises, float64 on the CPU."""
        point, fresh = noise.double().cpu().chunk(2, 1)
        states = self.part.tensor("states").double()
        x = source_points(point.flatten(1), self.part.settings["source"])
        found = states[cells_of(x, states.flatten(1), self.part.tensor("heights").double())]
        ratio = level.signal / self.at.signal
        missing = max(0.0, level.noise**2 - (ratio * self.at.noise) ** 2)
        return ratio * found + missing**0.5 * fresh


def source_points(noise: Float[Tensor, "n d"], source: Source) -> Float[Tensor, "n d"]:
    """Points of the source by unit noise: the noise itself, or uniform in [0, 1] in each number."""
    return noise if source == "normal" else torch.special.ndtr(noise)


def cells_of(x: Float[Tensor, "n d"], states: Float[Tensor, "m d"], heights: Float[Tensor, "m"]) -> Int[Tensor, "n"]:
    """The state that each point goes to: that of the largest inner product and height together."""
    at_once = max(1, AT_ONCE // len(states))
    return torch.cat([(part @ states.T + heights).argmax(1) for part in x.split(at_once)])
