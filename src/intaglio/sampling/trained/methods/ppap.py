"""PPAP's experts: classifiers of noised latents, taught by frozen judges of clean pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.precision import MixedPrecision, check_precision
from intaglio.learning.settings import CosineSettings
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator, generator_32bit
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.trained.family import SamplingTrainer
from intaglio.sampling.trained.kept_apart import held_out
from intaglio.sampling.trained.own_latents import STATE as DRAWN
from intaglio.sampling.trained.own_latents import own_latents
from intaglio.sampling.trained.timestep_experts import TimestepExperts
from intaglio.sampling.trained_part import TrainedPart
from intaglio.sampling.verifier import Verifier
from intaglio.sampling.verifier_names import verifier_of

TRAINED = "experts"
"""Name of the experts' state in a run."""


@dataclass(frozen=True, kw_only=True)
class PPAPExperts(MixedPrecision, SamplingTrainer):
    """PPAP's experts: classes of clean pictures, as small networks read them in noised latents.

    Frozen judges give each of the model's own pictures a score a class; its probabilities are the softmax of the scores
    over `temperature`. For each of `experts` equal ranges of timesteps a small convolutional network learns, without
    labels, the probabilities of the clean picture from its latents with noise, by the Kullback-Leibler divergence.
    `sample ppap --part` then leads to a class by the gradient of the expert of the moment, with no decoder in it.

    A class is a verifier, such as `like:FOLDER` with pictures of the class, or one beside the prompt that it judges
    by, as in `attributes=fox face, twemoji style`. Prompts should be such that the pictures are of all classes.

    `agreement_1` and so on, from the cleanest range on: of the tenth of the pictures that is kept from the
    training, the share whose likeliest class the expert names as the judges do, in the middle of its range.

    Source: arXiv 2212.05973, whose experts are low-rank adapters of the judge's own network on noised pixels.
    """

    states_kept: ClassVar[tuple[str, ...]] = (DRAWN, TRAINED)

    classes: tuple[str, ...] = ()
    """Judges of the classes, two or more: verifiers, or VERIFIER=PROMPT."""
    pictures: int = 2000
    """The model's own pictures, 20 or more."""
    experts: int = 5
    """Networks, one for each range of timesteps, 1 or more."""
    temperature: float = 0.25
    """Divisor of the scores before the softmax, above 0: a small one makes one class certain."""
    updates: int = 3000
    """Updates of the networks, 1 or more."""
    rows: int = 128
    """Noised latents an update, 1 or more, spread over all networks."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW, above 0; it falls along half a cosine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_precision(self.precision)
        for name, least in (("pictures", 20), ("experts", 1), ("updates", 1), ("rows", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, not {getattr(self, name)}")
        for name in ("temperature", "learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be above 0, and finite, not {getattr(self, name)}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must differ, not {', '.join(self.classes)}")

    def check(self, model: LatentDiffusion, prompts: Sequence[str]) -> None:
        """Raises `BadInput` for fewer than two classes, and for a judge that there is not."""
        super().check(model, prompts)
        if len(self.classes) < 2:
            raise BadInput("ppap tells classes apart; give two --classes or more, such as like:cats like:dogs")
        self._judges(model)
        if self.experts > model.schedule.count:
            raise BadInput(f"{model.name} has {model.schedule.count} timesteps; give fewer --experts")

    def hashes(self, model: LatentDiffusion) -> dict[str, str]:
        """Those of the judges."""
        return {name: judge.hash for name, (judge, _) in self._judges(model).items()}

    def planned(self, model: LatentDiffusion, prompts: Sequence[str]) -> Calls:
        """The drawing of the pictures, their decoding, and their judgement by every class."""
        calls = Calls(self.steps * self.branches, decodes=1, verifications=len(self.classes))
        calls.forward += sum(judge.calls for judge, _ in self._judges(model).values())
        return calls.times(self.pictures)

    def __call__(self, model: LatentDiffusion, prompts: Sequence[str], *, run: Run = Run.none()) -> TrainedPart:
        """The weights of the experts."""
        self.check(model, prompts)
        drawing = {"steps": self.steps, "scale": self.scale, "batch": self.batch, "seed": self.seed}
        latents = own_latents(model, prompts, self.pictures, **drawing, run=run)
        truth = self._judged(model, latents)
        known = truth.isfinite().all(1)
        latents, truth = latents[known], truth[known]
        held = held_out(len(latents), self.seed)
        if int((~held).sum()) < 2 or float(truth.std(0).max()) < 1e-6:
            raise IntaglioError(
                f"the judges tell no two of {len(latents)} judged pictures apart; give other --classes or prompts"
            )
        made = TimestepExperts(model.schedule, latents.shape[1], len(self.classes), self.experts, self.seed)
        made.to(model.device)
        self._train(made, model, latents[~held], truth[~held], run)
        with torch.no_grad():
            facts = self._agreement(made, model, latents[held], truth[held])
        facts |= {f"share_of_{name}": float(share) for name, share in zip(self.classes, truth.mean(0), strict=True)}
        tensors = {name: weight.contiguous() for name, weight in made.state_dict().items()}
        return self.part(model, prompts, tensors, {"pictures": len(latents), **facts})

    def _judges(self, model: LatentDiffusion) -> dict[str, tuple[Verifier, str]]:
        """Verifier and prompt of each class, by its words."""
        parted = {name: name.partition("=") for name in self.classes}
        return {name: (verifier_of(words, model, [prompt]), prompt) for name, (words, _, prompt) in parted.items()}

    @torch.no_grad()
    def _judged(self, model: LatentDiffusion, latents: Float[Tensor, "m c h w"]) -> Float[Tensor, "m classes"]:
        """Probabilities of the classes of clean latents; NaN for a picture that a judge has no answer to."""
        judges, found = self._judges(model).values(), list[Tensor]()
        with model.frozen():
            for part in latents.split(self.batch):
                pixels = model.decode(part.to(model.device)).cpu()
                scores = [judge(pixels, [prompt] * len(pixels)) for judge, prompt in judges]
                found.append((torch.stack(scores, 1) / self.temperature).softmax(1))
        return torch.cat(found)

    def _train(
        self,
        made: TimestepExperts,
        model: LatentDiffusion,
        latents: Float[Tensor, "m c h w"],
        truth: Float[Tensor, "m classes"],
        run: Run,
    ) -> None:
        """Trains the experts in place."""

        def objective(step: int) -> StepLoss:
            chosen = batch_at(range(len(latents)), step, self.rows, self.seed, TRAINED)
            t = torch.randint(model.schedule.count, (self.rows,), generator=generator_32bit(self.seed, "t", step))
            wanted = truth[chosen].to(model.device)
            told = made(self._noised(model, latents[chosen], t, step), t.to(model.device))
            return backward((wanted * (wanted.clamp(min=1e-12).log() - told)).sum(1).mean())

        settings = CosineSettings(steps=self.updates, learning_rate=self.learning_rate, warmup=0)
        trainer = Trainer(dict(made.named_parameters()), settings, precision=self.precision)
        checkpoints = Checkpoints(run, every_s=60.0, streams=(TRAINED,), state=TRAINED)
        checkpoints.restore(trainer)
        advice = f"try a learning rate below {self.learning_rate:g}"
        with computing_in(self.precision, [made]):
            train(trainer, objective, run, checkpoints, advice=advice, label="experts", stream=TRAINED)
        trainer.export()

    def _noised(
        self, model: LatentDiffusion, latents: Float[Tensor, "n c h w"], t: Tensor, step: int
    ) -> Float[Tensor, "n c h w"]:
        noise = torch.randn(latents.shape, generator=generator(self.seed, "noise", step))
        return model.noised(latents.to(model.device), noise.to(model.device), t.to(model.device))

    def _agreement(
        self,
        made: TimestepExperts,
        model: LatentDiffusion,
        latents: Float[Tensor, "m c h w"],
        truth: Float[Tensor, "m classes"],
    ) -> dict[str, float]:
        """Share of latents whose likeliest class each expert names, in the middle of its range."""
        found = {}
        for place in range(self.experts):
            t = torch.full((len(latents),), int((place + 0.5) * model.schedule.count / self.experts))
            told = made(self._noised(model, latents, t, -1 - place), t.to(model.device)).cpu()
            found[f"agreement_{place + 1}"] = float((told.argmax(1) == truth.argmax(1)).float().mean())
        return found
