"""Unlearning by training: the settings, the pictures that it learns from, and the training of the chosen weights."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Float64, Real
from torch import Tensor

from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.family import PictureSet, Unlearner
from intaglio.audit.unlearning.result import Unlearned
from intaglio.audit.unlearning.unet_modules import Modules, chosen_weights
from intaglio.denoising.training_times import training_times
from intaglio.errors import BadInput, require
from intaglio.learning.checkpoints import STATE, Checkpoints
from intaglio.learning.loop import Objective, train
from intaglio.learning.loss_parts import last_mean
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.step_randomness import batch_at, noise_at
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.trained.captioned_latents import CaptionedLatents
from intaglio.sampling.trained.own_latents import own_latents

CHECKPOINT_EVERY_S = 30.0
"""Seconds between two saved states."""
EMBEDDED_AT_ONCE, DRAWN_AT_ONCE = 8, 8


class Noised(NamedTuple):
    """Rows of an update: clean latents with their captions, and the noise that they are given."""

    latents: Float[Tensor, "b c h w"]
    captions: list[str]
    noise: Float[Tensor, "b c h w"]
    t: Real[Tensor, "b"]

    def part(self, rows: slice, device: torch.device) -> "Noised":
        """Some of the rows, on a device."""
        latents, noise, t = (one[rows].to(device) for one in (self.latents, self.noise, self.t))
        return Noised(latents, self.captions[rows], noise, t)


@dataclass(frozen=True, eq=False)
class UnlearningLesson:
    """All that an objective is made of."""

    model: LatentDiffusion
    """The model as it was given, frozen."""
    student: LatentDiffusion
    """The one that is changed; its text encoders and its autoencoder are the model's."""
    weights: Mapping[str, Tensor]
    """The student's weights that are trained."""
    concept: Concept
    sets: Mapping[PictureSet, CaptionedLatents]
    """Pictures that are learned from."""
    texts: Mapping[str, Conditioning]
    """A row for every prompt and caption, and for the empty one."""
    run: Run

    def text(self, captions: Sequence[str]) -> Conditioning:
        """Conditioning of captions, a row each."""
        return Conditioning.cat([self.texts[one] for one in captions])

    def noised(self, part: PictureSet, step: int, count: int, seed: int) -> Noised:
        """`count` rows of a set for an update: a function of (seed, set, step)."""
        data = self.sets[part]
        rows = batch_at(range(len(data.latents)), step, count, seed, part)
        t = training_times(self.model.schedule, count, step, seed)
        noise = noise_at((count, *data.latents.shape[1:]), step, seed)
        return Noised(data.latents[rows], [data.captions[row] for row in rows], noise, t)


@dataclass(frozen=True, kw_only=True)
class TunedUnlearner(OptimizerSettings, Unlearner, ABC):
    """An unlearning that trains weights of the U-Net under an objective of its own."""

    states: ClassVar[tuple[str, ...]] = (
        STATE,
        "trajectories",
        "saliency",
        "drawn-concept",
        "drawn-keep",
        "drawn-anchor",
    )
    asked: ClassVar[tuple[int, int]] = (0, 1)
    """Calls for each row of an update: of networks that are not trained, and of the one that is."""

    steps: int = 200
    """Updates, at least 1."""
    learning_rate: float = 1e-5
    """Learning rate of Adam, above 0."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay, as a fraction of the learning rate, 0 or more."""
    clip: float | None = None
    """Largest norm of the gradient over all trained weights; None leaves it as it is."""
    batch: int = 4
    """Rows an update, at least 1."""
    micro_batch: int | None = None
    """Rows in memory at once, at least 1; None: the whole batch. The result is the same, up to rounding."""
    modules: Modules = "x"
    """Weights that are trained: x, the cross-attention; x-strict, its keys and values; u, linear layers and
    convolutions outside it; all."""
    own: int = 8
    """Pictures that the model itself draws for each prompt to learn from, where none are given, at least 1."""
    own_steps: int = 20
    """Steps of DDIM of these pictures, 1 to 1000."""
    own_guidance: float = 3.0
    """Guidance scale of these pictures, 0 or more, 1 for none."""
    seed: int = 0
    """Seed of these pictures, of batches, timesteps and noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        part = self.micro_batch
        require(part is None or part >= 1, f"micro_batch must be at least 1, or None, not {part}")
        known = ("x", "x-strict", "u", "all")
        require(self.modules in known, f"modules must be one of {', '.join(known)}, not {self.modules!r}")
        require(self.own >= 1, f"own must be at least 1, not {self.own}")
        require(1 <= self.own_steps <= 1000, f"own_steps must be 1 to 1000, not {self.own_steps}")
        scale = self.own_guidance
        require(0 <= scale < float("inf"), f"own_guidance must be 0 or more, and finite, not {scale}")

    @abstractmethod
    def objective(self, lesson: UnlearningLesson) -> Objective:
        """The loss of an update and its gradients, after what has to be drawn or measured first."""

    def check(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a model that it cannot change."""
        super().check(model)
        if not chosen_weights(model.denoiser, self.modules):
            raise BadInput(f"{model.name} has no weights of --modules {self.modules}; take --modules all")
        if self.own_steps > model.schedule.count:
            raise BadInput(f"{model.name} has {model.schedule.count} timesteps; give --own-steps at most as many")

    @property
    def rows(self) -> int:
        """Rows that go through a network together."""
        return min(self.batch, self.micro_batch or self.batch)

    def pictures_drawn(self, concept: Concept, *, forget: int, retain: int) -> int:
        """Pictures that the model draws to learn from."""
        prompts = {"concept": concept.prompts, "keep": concept.keep, "anchor": concept.anchors}
        given = {"concept": forget, "keep": retain, "anchor": 0}
        return self.own * sum(len(prompts[part]) for part in self.learns_from if not given[part])

    def planned(self, concept: Concept, *, forget: int, retain: int) -> Calls:
        """Those of the drawn pictures, and of the updates."""
        each = self.own_steps * (1 if self.own_guidance == 1 else 2)
        still, trained = (count * self.batch * self.steps for count in self.asked)
        drawn = each * self.pictures_drawn(concept, forget=forget, retain=retain)
        return Calls(forward=drawn + still + trained, backward=trained)

    def __call__(
        self,
        model: LatentDiffusion,
        concept: Concept,
        *,
        forget: CaptionedLatents | None = None,
        retain: CaptionedLatents | None = None,
        run: Run = Run.none(),
    ) -> Unlearned:
        """Draws what it learns from, and trains; see the family."""
        student = self.begun(model, concept, forget, retain)
        weights = chosen_weights(student.denoiser, self.modules)
        with model.frozen():
            sets: dict[PictureSet, CaptionedLatents] = {}
            for part in self.learns_from:
                sets[part] = self._pictures(model, concept, part, forget, retain, run)
            captions = [one for data in sets.values() for one in data.captions]
            texts = embedded(model, ["", *concept.prompts, *concept.anchors, *concept.keep, *captions])
            objective = self.objective(UnlearningLesson(model, student, weights, concept, sets, texts, run))
            losses = trained(weights, self, objective, run)
        return self.found(model, student, concept, {"last_loss": last_mean(losses)})

    def _pictures(
        self,
        model: LatentDiffusion,
        concept: Concept,
        part: PictureSet,
        forget: CaptionedLatents | None,
        retain: CaptionedLatents | None,
        run: Run,
    ) -> CaptionedLatents:
        """The pictures of a set: those given, or drawn by the model itself."""
        if (given := {"concept": forget, "keep": retain, "anchor": None}[part]) is not None:
            return given
        prompts = {"concept": concept.prompts, "keep": concept.keep, "anchor": concept.anchors}[part]
        count = self.own * len(prompts)
        options = {"steps": self.own_steps, "scale": self.own_guidance, "batch": DRAWN_AT_ONCE, "seed": self.seed}
        latents = own_latents(model, prompts, count, **options, run=run, name=f"drawn-{part}")
        return CaptionedLatents(latents, tuple(prompts[k % len(prompts)] for k in range(count)))


def trained(
    weights: Mapping[str, Tensor], settings: OptimizerSettings, objective: Objective, run: Run
) -> Float64[Tensor, " steps"]:
    """Trains weights in place, from the run's state on; the losses of the steps."""
    trainer = Trainer(weights, settings)
    checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S)
    checkpoints.restore(trainer)
    train(
        trainer,
        objective,
        run,
        checkpoints,
        advice=f"try a learning rate below {settings.learning_rate:g}, or fewer steps",
        label="unlearning",
    )
    trainer.export()
    return trainer.losses


@torch.no_grad()
def embedded(model: LatentDiffusion, prompts: Sequence[str]) -> dict[str, Conditioning]:
    """Conditioning of every different prompt, a row each, on the model's device."""
    every, found = list(dict.fromkeys(prompts)), {}
    for first in range(0, len(every), EMBEDDED_AT_ONCE):
        some = every[first : first + EMBEDDED_AT_ONCE]
        rows = model.embed(some)
        found |= {one: rows[[k]] for k, one in enumerate(some)}
    return found


def mean_squares(one: Float[Tensor, "n *shape"], other: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
    """Mean squared difference, a number a row."""
    return (one - other).square().flatten(1).mean(1)
