"""`SamplingBatch`: pictures that are drawn at once, and the walk of a guide along their grid of noise levels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import IntaglioError
from intaglio.models.diffusion.latent_diffusion import unit_noise
from intaglio.runs.progress import Progress
from intaglio.sampling.calls import Predict
from intaglio.sampling.grid import NoiseLevel
from intaglio.sampling.guide import Guide, GuideContext, MovingGuide
from intaglio.sampling.samplers import Sampler
from intaglio.sampling.start import Start, latent_shape

NOT_FINITE = "compute in float32 (--dtype float32, in trainings --precision float32), or lower the guidance scale"
"""Remedy for pictures that turn into NaN or infinity."""


@dataclass(frozen=True, eq=False)
class SamplingBatch:
    """The n pictures of one batch, with all that it takes to draw them.

    The state of a walk is float64 and on the CPU: it is small, its differences cancel, and not every device has
    float64.
    """

    context: GuideContext
    seeds: Sequence[int]
    rows: Sequence[int]
    """The pictures' places among all that are drawn."""
    grid: Sequence[NoiseLevel]
    """Falls from the noisiest level to `CLEAN`."""
    sampler: Sampler
    start: Start
    progress: Progress
    spare_failed: bool = False
    """Whether a picture that turned into NaN or infinity is given as NaN, and the others go on."""
    told: Callable[[Any], object] = field(default=lambda trace: None)
    """Called with what a method has to say of the batch, such as a `ParticleTrace`."""
    fit: Any = None
    """The fitted part of a method, where it has one (`intaglio.sampling.fitted_sampling`)."""

    @property
    def predict(self) -> Predict:
        """The model's prediction, counted."""
        return self.context.calls.counted(self.context.model.predict)

    def generators(self) -> list[torch.Generator]:
        """A source of noise for each picture, by its seed."""
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]

    def walk(self, guide: Guide) -> Float[Tensor, "n c h w"]:
        """The clean latents by the sampler, led by a guide; NaN for a picture that failed and is spared."""
        model, state, visited = self.context.model, guide.init(self.context), set()
        generators, failed, predict = self.generators(), _Failed(self), self.predict

        def draw() -> Tensor:
            return unit_noise(latent_shape(self.context), generators).double()

        def asked(ask: Any, x: Tensor, level: NoiseLevel) -> Tensor:
            nonlocal state
            state, found = ask(state, seen(x, level).to(model.device), level.batch(len(x), model.device), predict)
            return failed.spared(found.cpu().double(), level)

        def noise_at(x: Tensor, level: NoiseLevel) -> Tensor:
            noise = asked(guide.step, x, level)
            if level not in visited:
                visited.add(level)
                self.progress.advance(len(x))
            return noise

        def visit(x: Tensor, level: NoiseLevel) -> Tensor:
            if not isinstance(guide, MovingGuide):
                return x
            moved = asked(guide.move, x, level)
            return torch.where(moved == seen(x, level).double(), x, moved)  # what stays keeps its last bits

        first = self.start(self.context, self.grid[0], self.rows, generators)
        return failed.marked(self.sampler(noise_at, first, self.grid, draw, visit)).float().to(model.device)


def seen(x: Float[Tensor, "n *shape"], level: NoiseLevel) -> Float[Tensor, "n *shape"]:
    """Latents of a walk as guides see them: float32, but on a straight path, whose predictions are float64."""
    return x if level.straight else x.float()


class _Failed:
    """Pictures of a batch that turned into NaN or infinity."""

    def __init__(self, batch: SamplingBatch):
        self._batch = batch
        self._rows = torch.zeros(len(batch.seeds), 1, 1, 1, dtype=torch.bool)

    def spared(self, found: Tensor, level: NoiseLevel) -> Tensor:
        """The tensor with zeros for pictures that failed; raises `IntaglioError` where none is to be spared."""
        bad = ~found.isfinite().flatten(1).all(1)
        if bad.any() and not self._batch.spare_failed:
            refuse_non_finite(int(bad.nonzero()[0]), self._batch, level)
        self._rows.logical_or_(bad.view(-1, 1, 1, 1))
        return found.masked_fill(self._rows, 0.0)

    def marked(self, latents: Tensor) -> Tensor:
        return latents.masked_fill(self._rows, torch.nan)


def refuse_non_finite(index: int, batch: SamplingBatch, level: NoiseLevel) -> NoReturn:
    """Raises `IntaglioError` for the picture of that index."""
    raise IntaglioError(
        f"the picture of seed {batch.seeds[index]} ({batch.context.prompts[index]!r}) turned into NaN or infinity at "
        f"timestep {level.t:.0f}; {NOT_FINITE}"
    )
