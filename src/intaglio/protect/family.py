"""Protection: the contract of a method, which gives a gradient; the descent and all around it is shared."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.denoising.losses import Precision
from intaglio.images.image_set import ImageSet
from intaglio.models.capabilities import Encodes, HasWeights, PredictsNoise, ReadsPrompts
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.budget import check_budget
from intaglio.protect.model_views import ViewKind
from intaglio.protect.surrogate import Surrogate
from intaglio.protect.transformations import TRANSFORMATIONS
from intaglio.runs.run import Run
from intaglio.verbs import FileName


@dataclass(frozen=True, kw_only=True)
class Protector(ABC):
    """A way to change pictures within a budget so that a model learns or edits them badly.

    A subclass gives the gradient of what it raises; signed steps, projection, views, transformations, rounding, states
    and files are the same for all. What reports and benches must know of a method stands in its class variables.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: a method of the literature that others are measured against."""
    reading: ClassVar[str]
    """The effect of the change on a model, as the end of a sentence that begins "It"."""
    objective: ClassVar[str]
    """The name of the number that it raises."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasWeights)
    """What a model must be able to do (`intaglio.models.capabilities`)."""
    uses_target: ClassVar[bool] = False
    """Whether it leads towards a target picture."""
    joint: ClassVar[bool] = False
    """Whether the pictures are one job, since the surrogate learns them: the change of each depends on the others."""

    budget: float = 8.0
    """Largest change of a number, grey levels of 255, in 0..64; 4 is faint, 16 plainly visible."""
    steps: int = 50
    """Signed steps, from 0."""
    step: float = 1.0
    """Size of a step, grey levels, above 0."""
    start: Literal["zero", "random"] = "zero"
    """First change: none, or uniform within the budget."""
    view: Literal["tiles", "whole", "both"] = "both"
    """Views that the model is given: tiles in the picture's own geometry, the whole picture resized as trainers do, or
    both by turns. A picture of the model's resolution is the same in both."""
    transformations: tuple[str, ...] = ()
    """What the change is to survive (expectation over transformations): jpeg, resize, blur, noise, crop. Each view is
    given to the model as it is or after one of them, by chance."""
    draws: int = 1
    """Such transformed copies of a view a step, from 1; the gradient is their mean."""
    least_ssim: float = 0.0
    """Structural similarity to the original that the change is scaled down to keep, in [0, 1); 0 leaves it to the
    budget alone."""
    flat: float = 1.0
    """Share of the budget in flat areas, where every change shows, in (0, 1]; it rises to 1 with local contrast."""
    batch: int = 4
    """Pictures of one size worked on together, from 1."""
    micro_batch: int = 8
    """Rows in one call of a network, from 1; lower it when memory is short, the result stays."""
    checkpointing: bool = False
    """Compute parts of the denoiser twice, for gradients in less memory and about a third more time."""
    precision: Precision = "float32"
    """Arithmetic inside the networks; float16 and bfloat16 by autocast."""
    seed: int = 0
    """Of timesteps, noise, views and the start."""

    def __post_init__(self) -> None:
        check_budget(self.budget, self.step)
        for name, least in {"steps": 0, "batch": 1, "micro_batch": 1, "draws": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.least_ssim < 1:
            raise ValueError(f"least_ssim must lie in 0..1, below 1, not {self.least_ssim}")
        if not 0 < self.flat <= 1:
            raise ValueError(f"flat must be above 0 and at most 1, not {self.flat}")
        if unknown := [name for name in self.transformations if name not in TRANSFORMATIONS]:
            raise ValueError(f"transformations has no {unknown[0]!r}; choose from: {', '.join(TRANSFORMATIONS)}")
        if self.draws > 1 and not self.transformations:
            raise ValueError("draws are of transformations; name some, or leave draws at 1")

    @abstractmethod
    def gradient(
        self,
        surrogate: Surrogate,
        pixels: Float[Tensor, "m 3 h w"],
        target: Float[Tensor, "1 3 h w"] | None,
        sources: Sequence[torch.Generator],
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3 h w"]]:
        """The objective, and its gradient by the pixels, of which only the sign is used.

        Args:
            surrogate: the frozen model with the prompt.
            pixels: views of pictures in [0, 1], at the model's resolution.
            target: for methods with `uses_target`, the target picture at that resolution.
            sources: a generator a view, for timesteps and noise.
        """

    @property
    def samples_a_step(self) -> int:
        """Gradients by the latents that a step takes of a view."""
        return 1

    def stops(self) -> tuple[int, ...]:
        """The steps done at the end of each round, ascending; between rounds the surrogate may learn."""
        return (self.steps,)

    def surrogates(
        self, model: LatentDiffusion, clean: ImageSet, prompt: str, run: Run
    ) -> Generator[LatentDiffusion, ImageSet, None]:
        """The surrogate of each round; it is sent the pictures as they are changed by then.

        Args:
            model: the surrogate that was given, which stays as it is.
            clean: the pictures as a trainer sees them, squares at the model's resolution.
            prompt: of an imitator.
            run: takes what was learned, so that a killed call goes on with the same weights.
        """
        yield model

    def learning_seconds(self, model: LatentDiffusion, pictures: int, prompt: str) -> float:
        """Seconds that the surrogate will learn in, timed on a throw-away copy; 0 where it does not."""
        return 0.0

    def forget(self, run: Run) -> None:  # noqa: B027 - a surrogate that learns nothing leaves nothing
        """Drops what `surrogates` stored in a run; to be called once the result is safe."""

    def kinds(self, step: int) -> ViewKind:
        """The view of a step."""
        if self.view == "both":
            return "tiles" if step % 2 == 0 else "whole"
        return self.view

    def step_size(self, step: int) -> float:
        """The size of a step, grey levels."""
        return self.step


@dataclass(frozen=True, kw_only=True)
class SamplingProtector(Protector, ABC):
    """A protection whose gradient is a mean over draws of timesteps and noise."""

    samples: int = 4
    """Timesteps and noises a step, from 1, one from each of as many equal bins of timesteps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, not {self.samples}")

    @property
    def samples_a_step(self) -> int:
        """See `Protector.samples_a_step`."""
        return self.samples
