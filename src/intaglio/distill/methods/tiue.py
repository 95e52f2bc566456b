"""TiUE (Loopfree): a student whose encoder runs once for all its steps, by the difference of two scores."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.distill.distillation_set import DistillationSet
from intaglio.distill.distilled import Distilled, distilled
from intaglio.distill.family import Distiller
from intaglio.distill.score_players import ScorePlayers
from intaglio.distill.stage import CHECKPOINT_EVERY_S
from intaglio.distill.two_players import TwoPlayers
from intaglio.errors import BadInput, require
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.loss_parts import in_parts, last_mean
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.recomputing import recomputing
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.baked_sampling import FREE, BakedSampling
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.unet_halves import refuse_no_halves
from intaglio.models.lora.lora import LoRA
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import NoiseLevel, timestep_grid
from intaglio.sampling.samplers import ddim
from intaglio.sampling.shared_pass import SharedPass

STATE = "student"
"""Name of the run's state, in which both learners are."""
SAMPLING = "loopfree"
"""The sampling method that the student is made for."""
TARGETS = ("to_q", "to_v")
"""Layers of the fake network that its adapter changes."""


@dataclass(frozen=True, kw_only=True)
class TiUE(Distiller):
    """A student whose encoder runs once for all steps, with one decoder pass a step, in parallel.

    The first convolution, down blocks and middle block of the U-Net see unit noise at the first timestep of the grid
    alone; the up blocks and the output run for every timestep on the same features, in one batch. Their predictions
    ε_1, ε_2, ... drive as many steps of DDIM from the unit noise to clean latents x. These are noised to a random
    level of signal s and noise n, where the teacher and a fake network, a LoRA of the teacher that learns the
    student's own latents, predict the noise, both under guidance. The student's loss is

        ½ mean (x - x*)², x* = x - n² (ε_teacher - ε_fake) held fixed,  +  w Σ_k ½ (m_k² + v_k - 1 - log v_k),

    whose second part is the divergence KL(N(m_k, v_k) || N(0, 1)) of the mean m_k and variance v_k over all numbers of
    ε_k. Captions are all that is taken from the set.

    Timesteps are 999, 749, 499, 249 of 1000 for four steps. The published grid begins at 751, where latents still
    hold signal that unit noise does not. The published training has a loss on CLIP's embeddings too; this version
    needs no further network and leaves it out.

    A picture is one encoder and `student_steps` decoder passes, drawn by `intaglio sample loopfree`. Training costs a
    call for each of these passes, though the encoder's part of all but one is saved.

    Source: arXiv 2505.21960.
    """

    bench: ClassVar[Mapping[str, Any]] = MappingProxyType({"steps": 200, "batch": 16, "learning_rate": 1e-5})

    steps: int = 1000
    """Updates of the student, at least 1."""
    learning_rate: float = 1e-6
    """Highest learning rate of the student, above 0."""
    student_steps: int = 4
    """Steps of the student, 1 or more."""
    guidance: float = 4.5
    """Guidance scale of the teacher and the fake network, which the student has baked in; 0 or more, 1 for none."""
    turns: int = 1
    """Updates of the fake network for one of the student, 1 or more."""
    rank: int = 64
    """Rank of the LoRA by which the fake network differs from the teacher, 1 or more."""
    alpha: float = 108.0
    """Scale of the LoRA times its rank, above 0."""
    critic_rate: float = 1e-3
    """Learning rate of the fake network, above 0."""
    caption_dropout: float = 0.1
    """Share of captions that are left empty for the fake network, in [0, 1)."""
    noise_weight: float = 0.8
    """Weight w of the divergence from unit noise, 0 or more; each picture has it once, where the published 0.1 is that
    of a sum over a batch of 8."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("student_steps", "turns", "rank"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("alpha", "critic_rate"):
            require(0 < getattr(self, name) < float("inf"), f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("guidance", "noise_weight"):
            value = getattr(self, name)
            require(0 <= value < float("inf"), f"{name} must be 0 or more, and finite, not {value}")
        require(0 <= self.caption_dropout < 1, f"caption_dropout must lie in [0, 1), not {self.caption_dropout}")

    @property
    def states(self) -> tuple[str, ...]:
        """That of both learners."""
        return (STATE,)

    def check(self, teacher: LatentDiffusion) -> None:
        """Raises `BadInput` for a teacher that it cannot distil, and for steps that its schedule has not."""
        super().check(teacher)
        refuse_no_halves(teacher, self.name)
        timestep_grid(teacher.schedule, self.student_steps)
        if not any(path.endswith(TARGETS) for path, _ in teacher.denoiser.named_modules()):
            raise BadInput(f"the denoiser of {teacher.name} has no attention for a LoRA to change; give another model")

    def planned(self, teacher: LatentDiffusion) -> Calls:
        """Rows of the student's decoders, of the fake network, and of both that are compared."""
        branches = 1 if self.guidance == 1 else 2
        forward = (self.turns + 1) * self.student_steps + self.turns + 2 * branches
        return Calls(forward=forward, backward=self.turns + self.student_steps).times(self.batch * self.steps)

    def __call__(self, teacher: LatentDiffusion, data: DistillationSet, *, run: Run = Run.none()) -> Distilled:
        """Trains the fake network and the student by turns; see the family."""
        self.check(teacher)
        grid = timestep_grid(teacher.schedule, self.student_steps)
        timesteps, scales = tuple(level.t for level in grid[:-1]), (self.guidance, self.guidance)
        sampling = BakedSampling(timesteps, "ddim", "baked", scales, SAMPLING)
        student = teacher.made_for(sampling, copy.deepcopy(teacher.denoiser), f"{teacher.name}-tiue")
        fake = adapted(teacher, self.rank, self.alpha, self.seed)
        turns = replace(self, steps=self.steps * self.turns, learning_rate=self.critic_rate, ema=None)
        with teacher.frozen():
            others = {"fake": Trainer(fake.weights, turns)}
            trainer = TwoPlayers(dict(student.denoiser.named_parameters()), self, others, self.precision)
            game = _Game(self, teacher, student, fake.model, data, trainer, grid)
            checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S, streams=(STATE,), state=STATE)
            checkpoints.restore(trainer)
            advice = f"try a learning rate below {self.learning_rate:g}"
            networks = [teacher.denoiser, student.denoiser, fake.model.denoiser]
            with computing_in(self.precision, networks), recomputing(self.gradient_checkpointing, networks):
                train(trainer, game.step, run, checkpoints, advice=advice, label=STATE, stream=STATE)
            trainer.export()
        facts = {"loss": last_mean(trainer.losses), "loss_of_the_fake": last_mean(others["fake"].losses)}
        return distilled(student, self, teacher, data.source, facts)


@dataclass(frozen=True, eq=False)
class _Adapted:
    """A fake network, and what it learns."""

    model: LatentDiffusion
    weights: Mapping[str, Tensor]


def adapted(teacher: LatentDiffusion, rank: int, alpha: float, seed: int) -> _Adapted:
    """The teacher under a new LoRA, which changes nothing yet; the denoiser's own weights are the teacher's."""
    denoiser, shared = teacher.denoiser, chain(teacher.denoiser.parameters(), teacher.denoiser.buffers())
    twin = copy.deepcopy(denoiser, {id(tensor): tensor for tensor in shared})
    model = teacher.made_for(FREE, twin, f"{teacher.name}-fake")
    lora = LoRA.new(model, rank, alpha, TARGETS, generator_32bit(seed, "fake", "lora"))
    lora.attach(model)
    layers = {path: layer for _, path, layer in lora.pairs()}
    weights = {f"{path}.{name}": getattr(layer, name) for path, layer in layers.items() for name in ("down", "up")}
    return _Adapted(model, weights)


@dataclass(frozen=True, eq=False)
class _Game(ScorePlayers):
    """The turns of one training."""

    method: TiUE
    trainer: TwoPlayers
    grid: Sequence[NoiseLevel]

    levels = (0.02, 0.981)

    def step(self, step: int) -> StepLoss:
        """The turns of the fake network, then the student's loss and gradients."""
        method = self.method
        for turn in range(step * method.turns, (step + 1) * method.turns):
            self.trainer.play("fake", turn, partial(self.turn_loss, turn))
        return self.student_loss(step)

    def turn_loss(self, turn: int) -> StepLoss:
        """Denoising error of the fake network on latents that the student draws as it is now.

        The student draws for whole captions; of those that the fake network hears, some are left out.
        """
        noise, t, captions, _ = self.drawn("turn", turn)
        dropped, seed = self.method.caption_dropout, self.method.seed
        heard = self.data.batch(turn, self.method.batch, dropped=dropped, seed=seed, stream="turn").captions
        with torch.no_grad():
            clean = [self.latents(noise[part], self.teacher.embed(captions[part]))[0] for part in self.parts]
        return self.fake_loss(torch.cat(clean), self.unit("added", turn), t, heard)

    def student_loss(self, step: int) -> StepLoss:
        """The difference of the scores in the clean latents, and the divergence of the predictions from unit noise."""
        noise, t, captions, _ = self.drawn("student", step)
        added, apart = self.unit("level", step), list[float]()

        def errors(part: slice) -> Float[Tensor, " n"]:
            given = self.teacher.embed(captions[part])
            clean, predicted = self.latents(noise[part], given)
            target = clean.detach() - self.led(clean.detach(), added[part], t[part], given)
            divergence = torch.stack([from_unit_noise(one) for one in predicted]).sum(0)
            apart.append(float(divergence.detach().sum()))
            return (clean - target).square().mean((1, 2, 3)) / 2 + self.method.noise_weight * divergence

        loss = in_parts(self.method.batch, self.method.micro_batch, errors)
        return replace(loss, beside={"from_unit_noise": sum(apart) / self.method.batch})

    @torch.no_grad()
    def led(
        self,
        clean: Float[Tensor, "n c h w"],
        added: Float[Tensor, "n c h w"],
        t: Real[Tensor, "n"],
        given: Conditioning,
    ) -> Float[Tensor, "n c h w"]:
        """n² (ε_teacher - ε_fake) of latents that are noised to timesteps: what they are led down by."""
        noised, scale = self.teacher.noised(clean, added, t), self.method.guidance
        wanted, faked = (self.guided(model, noised, t, given, scale) for model in (self.teacher, self.fake))
        return self.teacher.schedule.noise(t).to(noised)[:, None, None, None].square() * (wanted - faked)

    def latents(
        self, noise: Float[Tensor, "n c h w"], given: Conditioning
    ) -> tuple[Float[Tensor, "n c h w"], list[Float[Tensor, "n c h w"]]]:
        """Clean latents by DDIM on predictions that share the encoder's pass, and the predictions."""
        shared, predicted = SharedPass(self.student, [level.t for level in self.grid[:-1]]), list[Tensor]()

        def noise_at(x: Tensor, level: NoiseLevel) -> Tensor:
            t = level.batch(len(x), x.device)
            predicted.append(shared.noise(x, t, given))
            return predicted[-1]

        return ddim(noise_at, noise, self.grid, lambda: torch.zeros_like(noise)), predicted


def from_unit_noise(predicted: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """KL(N(m, v) || N(0, 1)) of the mean and variance over each row's numbers: ½ (m² + v - 1 - log v)."""
    mean, variance = predicted.mean((1, 2, 3)), predicted.var((1, 2, 3))
    return (mean.square() + variance - 1 - variance.clamp(min=1e-12).log()) / 2
