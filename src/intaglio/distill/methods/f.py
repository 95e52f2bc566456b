"""f-distill: a student of one step, by the difference of two scores, weighted for an f-divergence."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Real
from torch import Tensor
from torch.nn.functional import softplus

from intaglio.distill.distillation_set import DistillationSet
from intaglio.distill.distilled import Distilled, distilled
from intaglio.distill.divergences import WEIGHTS, Divergence, divergence_weights
from intaglio.distill.heads import MiddleHead, middle_channels, middle_features
from intaglio.distill.one_step import STATE, OneStepDistiller
from intaglio.distill.score_players import ScorePlayers
from intaglio.distill.stage import CHECKPOINT_EVERY_S
from intaglio.distill.two_players import TwoPlayers
from intaglio.errors import require
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.loss_parts import in_parts, last_mean
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.recomputing import recomputing
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.baked_sampling import FREE, BakedSampling
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import level_at
from intaglio.sampling.step import clean_estimate

BINS = 10
"""Equal ranges of timesteps, over each of which density ratios have the mean 1."""
SMALLEST, LARGEST = 0.1, 20.0
"""Bounds of a density ratio."""


@dataclass(frozen=True, kw_only=True)
class FDistillation(OneStepDistiller):
    """A student of one step, by a difference of scores that follows an f-divergence.

    The student turns unit noise into clean latents by one prediction. These are noised to a random level, where the
    teacher, under guidance, and a fake network, which learns the student's own latents, estimate them clean again; the
    difference of the two leads the student. Where the ratio r of the teacher's density over the student's is known, the
    difference times h(r) is the gradient of an f-divergence: `reverse-kl` has h = 1 and seeks modes, `kl` has h = r and
    covers them, `js` lies between. The ratio is told by a head on the teacher's middle block, which learns to tell
    noised latents of the set from the student's; a small part of its loss leads the student too.

    Source: arXiv 2502.15681.
    """

    bench: ClassVar[Mapping[str, Any]] = MappingProxyType({"steps": 200, "batch": 16})

    steps: int = 1000
    """Updates of the student, at least 1."""
    learning_rate: float = 1e-5
    """Highest learning rate of the student, above 0."""
    divergence: Divergence = "js"
    """The f-divergence."""
    guidance: float = 1.75
    """Guidance scale of the teacher, which the student has baked in; 0 or more, 1 for none."""
    turns: int = 5
    """Updates of the fake network and the head for one of the student, 1 or more."""
    critic_rate: float = 1e-5
    """Learning rate of the fake network, above 0."""
    head_rate: float = 1e-4
    """Learning rate of the head, above 0."""
    adversarial: float = 1e-3
    """Weight of the head's part in the student's loss, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.divergence in WEIGHTS, f"divergence must be one of {', '.join(WEIGHTS)}, not {self.divergence!r}")
        require(0 <= self.guidance < float("inf"), f"guidance must be 0 or more, and finite, not {self.guidance}")
        require(self.turns >= 1, f"turns must be at least 1, not {self.turns}")
        for name in ("critic_rate", "head_rate"):
            require(0 < getattr(self, name) < float("inf"), f"{name} must be above 0, not {getattr(self, name)}")
        require(0 <= self.adversarial < float("inf"), f"adversarial must be 0 or more, not {self.adversarial}")

    def planned(self, teacher: LatentDiffusion) -> Calls:
        """Rows of the student, the fake network, and the teacher, whose middle block gives the features."""
        branches = 1 if self.guidance == 1 else 2
        through_head = 1 if self.adversarial else 0
        # Turn: drawn, fake's prediction, features of real and drawn. Student: drawn twice, fake, teacher, features.
        forward = self.turns * 4 + 2 + 1 + branches + 1
        backward = self.turns + 1 + through_head
        return Calls(forward=forward, backward=backward).times(self.batch * self.steps)

    def __call__(self, teacher: LatentDiffusion, data: DistillationSet, *, run: Run = Run.none()) -> Distilled:
        """Trains the student, the fake network and the head by turns; see the family."""
        self.check(teacher)
        t = self.first(teacher)
        sampling = BakedSampling((t,), "ddim", "baked", (self.guidance, self.guidance))
        student = teacher.made_for(sampling, copy.deepcopy(teacher.denoiser), f"{teacher.name}-f")
        fake = teacher.made_for(FREE, copy.deepcopy(teacher.denoiser), f"{teacher.name}-fake")
        head = MiddleHead(middle_channels(teacher), self.seed).to(teacher.device)
        turns = replace(self, steps=self.steps * self.turns, ema=None)
        others = {
            "fake": Trainer(dict(fake.denoiser.named_parameters()), replace(turns, learning_rate=self.critic_rate)),
            "head": Trainer(dict(head.named_parameters()), replace(turns, learning_rate=self.head_rate)),
        }
        with teacher.frozen():
            trainer = TwoPlayers(dict(student.denoiser.named_parameters()), self, others, self.precision)
            game = _Game(self, teacher, student, fake, data, head, trainer, t)
            checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S, streams=(STATE,), state=STATE)
            checkpoints.restore(trainer)
            advice = f"try a learning rate below {self.learning_rate:g}"
            networks = [teacher.denoiser, student.denoiser, fake.denoiser, head]
            with computing_in(self.precision, networks), recomputing(self.gradient_checkpointing, networks[:-1]):
                train(trainer, game.step, run, checkpoints, advice=advice, label=STATE, stream=STATE)
            trainer.export()
        losses = {name: last_mean(other.losses) for name, other in others.items()}
        facts = {f"loss_of_the_{name}": loss for name, loss in losses.items()}
        return distilled(student, self, teacher, data.source, {"difference": last_mean(trainer.losses), **facts})


class _Compared(NamedTuple):
    """The student's latents of an update, beside what leads them."""

    difference: Float[Tensor, "n c h w"]
    """Clean estimate of the fake network less the teacher's, over the mean size of what the teacher would change."""
    logits: Float[Tensor, "n"]
    pull: Float[Tensor, "n c h w"]
    """Gradient of the head's part, for one latents alone."""


class _Turn(NamedTuple):
    """Latents of one turn of the fake network and the head."""

    clean: Float[Tensor, "n c h w"]
    """The student's."""
    real: Float[Tensor, "n c h w"]
    """Of the set."""
    captions: list[str]
    t: Real[Tensor, "n"]
    added: Float[Tensor, "n c h w"]
    """Unit noise for either."""

    @classmethod
    @torch.no_grad()
    def of(cls, game: "_Game", turn: int) -> "_Turn":
        """Turn number `turn` of a game, drawn by the student as it is now."""
        noise, t, captions, real = game.drawn("turn", turn)
        clean = [game.latents(noise[part], game.teacher.embed(captions[part])) for part in game.parts]
        return cls(torch.cat(clean), real, captions, t, game.unit("added", turn))


@dataclass(frozen=True, eq=False)
class _Game(ScorePlayers):
    """The turns of one training."""

    method: FDistillation
    head: MiddleHead
    trainer: TwoPlayers
    t: int

    def step(self, step: int) -> StepLoss:
        """The turns of the others, then the student's loss and gradients."""
        method = self.method
        for turn in range(step * method.turns, (step + 1) * method.turns):
            drawn = _Turn.of(self, turn)
            self.trainer.play("fake", turn, partial(self._fake_loss, drawn))
            self.trainer.play("head", turn, partial(self._head_loss, drawn))
        return self._student_loss(step)

    def _fake_loss(self, drawn: "_Turn") -> StepLoss:
        """Denoising error of the fake network on the student's latents."""
        return self.fake_loss(drawn.clean, drawn.added, drawn.t, drawn.captions)

    def _head_loss(self, drawn: "_Turn") -> StepLoss:
        """Logistic loss of the head: latents of the set are 1, the student's 0."""

        def errors(part: slice) -> Float[Tensor, " n"]:
            given, t = self.teacher.embed(drawn.captions[part]), drawn.t[part].repeat(2)
            clean, added = torch.cat([drawn.real[part], drawn.clean[part]]), drawn.added[part].repeat(2, 1, 1, 1)
            with torch.no_grad():
                noised = self.teacher.noised(clean, added, t)
                features = middle_features(self.teacher, noised, t, Conditioning.cat([given, given]))
            right, wrong = self.head(features).chunk(2)
            return softplus(-right) + softplus(wrong)

        return in_parts(self.method.batch, self.method.micro_batch, errors)

    def _student_loss(self, step: int) -> StepLoss:
        """The weighted difference as the gradient of the student's latents."""
        noise, t, captions, _ = self.drawn("student", step)
        parts, added = self.parts, self.unit("level", step)
        found = [self._compared(noise[part], t[part], captions[part], added[part]) for part in parts]
        ratios = torch.cat([one.logits for one in found]).exp().clamp(SMALLEST, LARGEST)
        weights = divergence_weights(ratios, self.method.divergence, t * BINS // self.teacher.schedule.count)
        for part, one in zip(parts, found, strict=True):
            gradient = weights[part, None, None, None] * one.difference + self.method.adversarial * one.pull
            latents = self.latents(noise[part], self.teacher.embed(captions[part]))
            latents.backward(gradient / len(noise))
        size_of = torch.cat([one.difference.square().mean((1, 2, 3)) for one in found]).sqrt()
        return StepLoss(float((weights * size_of).mean()), beside={"ratio": float(ratios.mean())})

    def _compared(
        self,
        noise: Float[Tensor, "n c h w"],
        t: Real[Tensor, "n"],
        captions: list[str],
        added: Float[Tensor, "n c h w"],
    ) -> _Compared:
        given = self.teacher.embed(captions)
        with torch.no_grad():
            clean = self.latents(noise, given)
            noised = self.teacher.noised(clean, added, t)
            wanted = self._estimate(noised, t, self.guided(self.teacher, noised, t, given, self.method.guidance))
            faked = self._estimate(noised, t, self.fake.predict(noised, t, given))
        scale = (clean - wanted).abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-6)
        logits, pull = self._judged(clean, added, t, given)
        return _Compared((faked - wanted) / scale / clean[0].numel(), logits, pull)

    def _judged(
        self,
        clean: Float[Tensor, "n c h w"],
        added: Float[Tensor, "n c h w"],
        t: Real[Tensor, "n"],
        given: Conditioning,
    ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n c h w"]]:
        """Logits of noised latents, and the gradient of softplus(-logit) in the clean ones."""
        leads = self.method.adversarial > 0
        leaf = clean.clone().requires_grad_(leads)
        with torch.set_grad_enabled(leads):
            logits = self.head(middle_features(self.teacher, self.teacher.noised(leaf, added, t), t, given))
        pull = torch.autograd.grad(softplus(-logits).sum(), leaf)[0] if leads else torch.zeros_like(clean)
        return logits.detach(), pull

    def latents(self, noise: Float[Tensor, "n c h w"], given: Conditioning) -> Float[Tensor, "n c h w"]:
        """Clean latents by one prediction from unit noise."""
        level = level_at(self.teacher.schedule, self.t)
        t = torch.full((len(noise),), self.t, device=noise.device)
        return clean_estimate(noise, self.student.predict(noise, t, given), level)

    def _estimate(
        self, noised: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], noise: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n c h w"]:
        schedule = self.teacher.schedule
        signal, level = (of(t).to(noised)[:, None, None, None] for of in (schedule.signal, schedule.noise))
        return (noised - level * noise) / signal
