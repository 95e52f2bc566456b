"""Anti-DreamBooth: AdvDM against a surrogate that learns the pictures, as the imitator's model will."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.family import FineTuner
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.learning.checkpoints import STATE
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.family import SamplingProtector
from intaglio.protect.lessons import Lessons, forget_lessons, lesson_tuner
from intaglio.protect.surrogate import Surrogate
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class AntiDreamBooth(SamplingProtector):
    """Anti-DreamBooth: raise the denoising loss of a surrogate that learns the pictures meanwhile.

    FSMG tunes the surrogate on the clean pictures first, and then raises its loss. ASPL alternates: in each round a
    copy of the surrogate learns the clean pictures, the pictures are led up that copy's loss, and the surrogate itself
    learns the changed pictures. Both need a prompt. Published (the authors' code): a budget of 6.375 and steps of
    0.6375 with one sample each; FSMG 100 steps against a surrogate tuned for 1000; ASPL 50 rounds of 3 lesson steps, 6
    steps, 3 lesson steps. They tune all weights at a rate of 5e-7, and clean pictures of the same subject that are not
    protected; this tunes low-rank updates of all layers, which keep small steps that bfloat16 weights would lose, and
    the originals themselves.

    Source: arXiv 2303.15433.
    """

    reading: ClassVar[str] = "makes a model denoise the picture badly even when it has learned the others"
    objective: ClassVar[str] = "denoising loss of the surrogate that has learned"
    joint: ClassVar[bool] = True

    mode: Literal["aspl", "fsmg"] = "aspl"
    """Alternating surrogate and changes, or a surrogate that is tuned once."""
    rounds: int = 10
    """Rounds of aspl, from 1; the steps are split evenly among them."""
    lesson_steps: int | None = None
    """Training steps of a lesson, from 1; none takes 3 for aspl, of which a round has two, and 400 for fsmg."""
    lesson_rate: float = 1e-3
    """Learning rate of the lessons, above 0."""
    lesson_batch: int = 4
    """Pictures a training step, from 1."""
    rank: int = 4
    """Rank of the updates, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rounds", "lesson_batch", "rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.lesson_steps is not None and self.lesson_steps < 1:
            raise ValueError(f"lesson_steps must be at least 1, not {self.lesson_steps}")
        if not 0 < self.lesson_rate < float("inf"):
            raise ValueError(f"lesson_rate must be above 0, not {self.lesson_rate}")

    def stops(self) -> tuple[int, ...]:
        """See `Protector.stops`; a round has at least one step."""
        if self.mode == "fsmg" or not self.steps:
            return (self.steps,)
        rounds = min(self.rounds, self.steps)
        return tuple((place + 1) * self.steps // rounds for place in range(rounds))

    def surrogates(
        self, model: LatentDiffusion, clean: ImageSet, prompt: str, run: Run
    ) -> Generator[LatentDiffusion, ImageSet, None]:
        """See `Protector.surrogates`."""
        self._check_prompt(prompt)
        pictures = TrainingSet(clean, prompt=prompt)
        if self.mode == "fsmg":
            yield self._tuner()(model, pictures, run=run).model
            return
        lessons = Lessons(self._tuner(), self._match(model, pictures), run)
        kept = model
        for round_ in range(len(self.stops())):
            changed = yield lessons.after(2 * round_, kept, pictures)
            kept = lessons.after(2 * round_ + 1, kept, TrainingSet(changed, prompt=prompt))

    def learning_seconds(self, model: LatentDiffusion, pictures: int, prompt: str) -> float:
        """See `Protector.learning_seconds`."""
        self._check_prompt(prompt)
        few = torch.rand(min(pictures, self.lesson_batch), 3, model.resolution, model.resolution)
        plan = self._tuner().plan(model, TrainingSet(ImageSet.from_pixels(few), prompt=prompt))
        return plan.seconds * (1 if self.mode == "fsmg" else 2 * len(self.stops()) - 1)

    def forget(self, run: Run) -> None:
        """See `Protector.forget`."""
        forget_lessons(run, 2 * len(self.stops()))
        run.drop_state(STATE)

    def gradient(
        self,
        surrogate: Surrogate,
        pixels: Float[Tensor, "m 3 h w"],
        target: Float[Tensor, "1 3 h w"] | None,
        sources: Sequence[torch.Generator],
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3 h w"]]:
        """See `Protector.gradient`."""
        return surrogate.denoising_gradient(pixels, self.samples, sources)

    def _check_prompt(self, prompt: str) -> None:
        if not prompt.strip():
            raise BadInput(f"{self.name} tunes the surrogate and needs the prompt of an imitator; give --prompt")

    def _tuner(self) -> FineTuner:
        steps = self.lesson_steps or (3 if self.mode == "aspl" else 400)
        return lesson_tuner(steps, self.lesson_rate, self.lesson_batch, self.rank, 1_000_003 * self.seed)

    def _match(self, model: LatentDiffusion, pictures: TrainingSet) -> dict[str, str]:
        """Plain values that identify lessons."""
        settings = repr((self, pictures.trigger))
        return {"model": model.fingerprint, "pictures": " ".join(pictures.images.hashes), "settings": settings}
