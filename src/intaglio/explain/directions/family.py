"""Direction finders: the contract of a method that finds directions of a denoiser's activations."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.explain.directions.result import Directions
from intaglio.explain.site_walks import SiteWalks, Walk, forget_walks, recorded_walks
from intaglio.models.capabilities import Encodes, HasUNet, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run
from intaglio.verbs import FileName

Scores = Callable[[Tensor], Float[Tensor, "n"]]
"""Numbers of pictures [n, 3, h, w] in [0, 1], the higher the more they are of a class."""
Found = tuple[Float[Tensor, "k s *shape"], Sequence[float]]
"""Shifts of the site at strength 1, at each step, and a number of each direction, NaN where it has none."""


@dataclass(frozen=True)
class DirectionJudge:
    """A classifier's scores of drawn pictures, by class."""

    target: str
    """The class whose score is followed, as it is asked for."""
    scores: Mapping[str, Scores] = field(default_factory=dict)
    """Of the target, and of further classes that a method asks for."""


@dataclass(frozen=True, kw_only=True)
class DirectionFinder(ABC):
    """A way to find directions: shifts of what a site of the denoiser gives, one for each step of the sampling.

    A site is a module of the denoiser, such as the bottleneck. A picture is led along a direction by adding alpha times
    the shift of the step to the module's output at every step, in the prediction for the prompt alone; alpha is the
    strength.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The directions in words, as the end of a sentence that begins "A direction is"."""
    unit: ClassVar[str]
    """A strength of 1 in words, as the end of a sentence that begins "A strength of 1 is"."""
    number: ClassVar[str] = ""
    """The number of each direction in words; empty: it has none."""
    own: ClassVar[bool] = False
    """Whether directions are of one picture each, and lead no other."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasUNet)
    """What a model must be able to do (`intaglio.models.capabilities`)."""

    steps: int = 20
    """Steps of DDIM, at least 1; directions lead pictures of as many."""
    guidance: float = 1.0
    """Guidance scale of drawn pictures, 0 or more, 1 for none. A shift in the prompt's prediction is multiplied by it,
    and a scale above 1 breaks pictures sooner than it leads them."""
    batch: int = 8
    """Pictures drawn at once, at least 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of what is drawn, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        scale = self.guidance
        require(0 <= scale < float("inf"), f"guidance must be 0 or more, and finite, not {scale}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @property
    @abstractmethod
    def place(self) -> str:
        """The site: a module of the denoiser, or `site_walks.LATENTS`."""

    @abstractmethod
    def forget(self, run: Run, pictures: int) -> None:
        """Drops what a run kept to go on from, with so many led pictures; to be called once its result is safe."""

    @property
    def planned_directions(self) -> int:
        """Directions that it will find."""
        return 1

    @property
    def walk(self) -> Walk:
        """The way that pictures are drawn."""
        return Walk(self.place, self.steps, self.guidance)

    @property
    def asked_classes(self) -> tuple[str, ...]:
        """Classes beside the target whose scores it asks for."""
        return ()

    @property
    def wants_judge(self) -> bool:
        """Whether it finds by a classifier's score of a class."""
        return False

    @abstractmethod
    def find(
        self,
        model: LatentDiffusion,
        prompts: Sequence[str],
        seeds: Sequence[int],
        judge: DirectionJudge | None,
        run: Run,
    ) -> Directions:
        """The directions; the model is frozen. Arguments are those of a call."""

    @abstractmethod
    def calls(self, pictures: int) -> tuple[int, int]:
        """Pictures that are drawn for it, and further rows that go through the denoiser, a gradient for two.

        `pictures` is the number of those that are shown.
        """

    def check(self, model: LatentDiffusion, prompts: Sequence[str], judge: DirectionJudge | None) -> None:
        """Raises `BadInput` for a model, a site or prompts that it cannot use, and for classes that it lacks."""
        check_needs(self, model)
        self.walk.check(model)
        if not prompts:
            raise BadInput("there is no prompt to draw; give --prompt one or more")
        if judge is None and self.wants_judge:
            raise BadInput(f"{self.name} asks which pictures are of a class; name one by --target, or give --words")

    def __call__(
        self,
        model: LatentDiffusion,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int] = (),
        judge: DirectionJudge | None = None,
        run: Run = Run.none(),
    ) -> Directions:
        """The directions of drawings of some prompts.

        Args:
            model: left as it was found.
            prompts: one or more; picture k has the k-th, from the first on again.
            seeds: of the pictures that are to be led, which only methods ask for whose directions are of a picture.
            judge: of drawn pictures; None where no class is asked for.
            run: progress and states; a killed call goes on after the last batch.

        Raises:
            BadInput: as `check` does.
            IntaglioError: for numbers that are not finite.
        """
        self.check(model, prompts, judge)
        with torch.no_grad(), model.frozen():
            found = self.find(model, prompts, seeds, judge, run)
        if not bool(found.shifts.isfinite().all()):
            raise IntaglioError(f"{self.name} gives numbers that are not finite; lower --guidance, or check the model")
        return found

    def _directions(
        self, model: LatentDiffusion, shifts: Float[Tensor, "p k s *shape"], numbers: Sequence[float],
        agreement: Sequence[float], seeds: Sequence[int] = (),
    ) -> Directions:  # fmt: skip
        """The result of these shifts."""
        about = (self.name, self.reading, self.unit, self.number, model.fingerprint)
        walk = (self.place, self.steps, self.guidance)
        return Directions(*about, *walk, shifts.float(), tuple(numbers), tuple(agreement), tuple(seeds))


@dataclass(frozen=True, kw_only=True)
class SampledDirections(DirectionFinder, ABC):
    """A method that finds directions, the same for all pictures, from what the site gives in sample drawings."""

    samples: int = 80
    """Pictures that are drawn to find directions, at least 4."""

    repeats: ClassVar[bool] = True
    """Whether halves of the samples should give the same directions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.samples >= 4, f"samples must be at least 4, not {self.samples}")

    @abstractmethod
    def shifts(self, walks: SiteWalks, scores: Mapping[str, Float[ndarray, "n"]], target: str | None) -> Found:
        """Directions of samples.

        Args:
            walks: what the site gave.
            scores: of each sample, for classes that were asked for.
            target: the class that is followed, if any.
        """

    def texts(self, prompts: Sequence[str]) -> list[str]:
        """The prompt of each sample."""
        return [prompts[k % len(prompts)] for k in range(self.samples)]

    def sample_seeds(self) -> list[int]:
        """The seed of each sample."""
        return [seed_32bit(self.seed, "directions", k) for k in range(self.samples)]

    def forget(self, run: Run, pictures: int) -> None:
        """Drops the walks."""
        forget_walks(run, self.samples)

    def calls(self, pictures: int) -> tuple[int, int]:
        """Its samples."""
        return self.samples, 0

    def find(
        self,
        model: LatentDiffusion,
        prompts: Sequence[str],
        seeds: Sequence[int],
        judge: DirectionJudge | None,
        run: Run,
    ) -> Directions:
        """Of all samples, compared with those of either half of them."""
        drawn = self.texts(prompts), self.sample_seeds()
        walks = recorded_walks(model, *drawn, self.walk, batch=self.batch, run=run)
        scores = _scored(model, walks, judge if self.wants_judge else None, self.batch)
        target = None if judge is None else judge.target
        shifts, numbers = self.shifts(walks, scores, target)
        agreement = [float("nan")] * len(shifts)
        if self.repeats:
            # Neighbours may be a pair of one seed, which stays together.
            first = np.arange(self.samples) // 2 % 2 == 0
            halves = [
                self.shifts(walks[torch.from_numpy(rows)], {name: one[rows] for name, one in scores.items()}, target)
                for rows in (first, ~first)
            ]
            agreement = agreements(halves[0][0], halves[1][0])
        return self._directions(model, shifts[None], numbers, agreement)


def agreements(one: Float[Tensor, "k s *shape"], two: Float[Tensor, "k s *shape"]) -> list[float]:
    """|cosine| of each direction with its like, as a mean over steps."""
    rows, others = one.flatten(2).double(), two.flatten(2).double()
    cosines = torch.nn.functional.cosine_similarity(rows, others, dim=2)
    return [float(value) for value in cosines.abs().mean(1)]


def _scored(
    model: LatentDiffusion, walks: SiteWalks, judge: DirectionJudge | None, batch: int
) -> dict[str, Float[ndarray, "n"]]:
    """Scores of the samples' pictures, by class."""
    if judge is None:
        return {}
    pixels = torch.cat([model.decode(part.to(model.device)).cpu() for part in walks.latents.split(batch)])
    return {name: score(pixels).double().numpy() for name, score in judge.scores.items()}
