"""NitroFusion: a student of one step, judged by a pool of heads of which some are always new."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Real
from torch import Tensor
from torch.nn.functional import softplus

from intaglio.distill.distillation_set import DistillationSet, SetBatch
from intaglio.distill.distilled import Distilled, distilled
from intaglio.distill.head_pool import RANGES, HeadPool, block_channels, judged_blocks
from intaglio.distill.heads import as_map, refuse_no_middle
from intaglio.distill.one_step import STATE, OneStepDistiller
from intaglio.distill.stage import CHECKPOINT_EVERY_S
from intaglio.distill.two_players import TwoPlayers
from intaglio.errors import require
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.loss_parts import last_mean
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.recomputing import recomputing
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.module_outputs import outputs_of
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import level_at
from intaglio.sampling.step import clean_estimate


@dataclass(frozen=True, kw_only=True)
class NitroFusion(OneStepDistiller):
    """A student of one step, which a pool of heads is to take for the set.

    The student turns unit noise into clean latents by one prediction. Noised latents of the set, which the teacher may
    have drawn, and the student's are told apart by light heads on the teacher's frozen blocks: each for one of four
    ranges of noise, half of them with the prompt, half of them place by place. At every update some heads, drawn at
    random, learn and judge, and a few of all begin anew, so that the student cannot learn the weaknesses of any. A
    picture is one call, without guidance: where the set was drawn under guidance, the student learns to draw like that.

    The published model can also draw in two to four steps, at shifted timesteps; this version draws in one.

    Source: arXiv 2412.02030.
    """

    bench: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    steps: int = 2000
    """Updates of the student, at least 1."""
    learning_rate: float = 1e-5
    """Highest learning rate of the student, above 0."""
    heads: int = 64
    """Heads of the pool, 8 or more: one for each range of noise and block at least."""
    judging: int = 16
    """Heads that learn and judge at an update, 1 to `heads`."""
    refresh: float = 0.01
    """Probability, in [0, 1), of each head to begin anew after an update."""
    head_rate: float = 1e-4
    """Learning rate of the heads, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 2 * RANGES, f"heads must be at least {2 * RANGES}, not {self.heads}")
        require(1 <= self.judging <= self.heads, f"judging must be 1 to heads ({self.heads}), not {self.judging}")
        require(0 <= self.refresh < 1, f"refresh must lie in [0, 1), not {self.refresh}")
        require(0 < self.head_rate < float("inf"), f"head_rate must be above 0, not {self.head_rate}")

    def planned(self, teacher: LatentDiffusion) -> Calls:
        """The student's latents and the features of both kinds for the heads, the same of the student's for itself."""
        return Calls(forward=1 + 2 + 1 + 1, backward=2).times(self.batch * self.steps)

    def __call__(self, teacher: LatentDiffusion, data: DistillationSet, *, run: Run = Run.none()) -> Distilled:
        """Trains the student and the pool by turns; see the family."""
        self.check(teacher)
        refuse_no_middle(teacher, 2)
        t = self.first(teacher)
        sampling = BakedSampling((t,), "ddim", "baked", (1.0, 1.0))
        student = teacher.made_for(sampling, copy.deepcopy(teacher.denoiser), f"{teacher.name}-nitro")
        text = teacher.embed([""]).hidden.shape[-1]
        pool = HeadPool(self.heads, block_channels(teacher), text, self.seed).to(teacher.device)
        of_heads = Trainer(dict(pool.named_parameters()), replace(self, learning_rate=self.head_rate, ema=None))
        with teacher.frozen():
            trainer = TwoPlayers(dict(student.denoiser.named_parameters()), self, {"heads": of_heads}, self.precision)
            game = _Game(self, teacher, student, pool, data, trainer, t)
            checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S, streams=(STATE,), state=STATE)
            checkpoints.restore(trainer)
            advice = f"try a learning rate below {self.learning_rate:g}"
            denoisers = [teacher.denoiser, student.denoiser]
            again = recomputing(self.gradient_checkpointing, denoisers)
            with computing_in(self.precision, [*denoisers, pool]), again:
                train(trainer, game.step, run, checkpoints, advice=advice, label=STATE, stream=STATE)
            trainer.export()
        facts = {"loss_of_the_student": last_mean(trainer.losses), "loss_of_the_heads": last_mean(of_heads.losses)}
        return distilled(student, self, teacher, data.source, facts)


@dataclass(frozen=True, eq=False)
class _Update:
    """All that an update draws."""

    batch: SetBatch
    noise: Float[Tensor, "n c h w"]
    """For the student."""
    added: Float[Tensor, "n c h w"]
    """Noise that the judged latents are raised by, for either kind."""
    t: Real[Tensor, "n"]
    """Timesteps that they are raised to."""
    judging: list[int]
    """Heads that learn and judge."""


@dataclass(frozen=True, eq=False)
class _Game:
    """The turns of one training."""

    method: NitroFusion
    teacher: LatentDiffusion
    student: LatentDiffusion
    pool: HeadPool
    data: DistillationSet
    trainer: TwoPlayers
    t: int

    def step(self, step: int) -> StepLoss:
        """The heads' update, some heads anew, then the student's loss and gradients."""
        drawn = self.drawn(step)
        before = self.trainer.others["heads"].step
        self.trainer.play("heads", step, lambda: self.heads_loss(drawn))
        if step == before:
            self.refresh(step)
        return self.student_loss(drawn)

    def drawn(self, step: int) -> _Update:
        """A function of (seed, step)."""
        method, device = self.method, self.teacher.device
        batch = self.data.batch(step, method.batch, dropped=0.0, seed=method.seed, stream=STATE)
        noise, added = (
            torch.randn(batch.latents.shape, generator=generator_32bit(method.seed, what, step)).to(device)
            for what in ("noise", "added")
        )
        source = generator_32bit(method.seed, "timesteps", step)
        t = torch.randint(self.teacher.schedule.count, (method.batch,), generator=source).to(device)
        order = torch.randperm(method.heads, generator=generator_32bit(method.seed, "judging", step))
        return _Update(batch, noise, added, t, sorted(order[: method.judging].tolist()))

    def refresh(self, step: int) -> None:
        """Heads that begin anew after an update, each with the same probability, drawn from (seed, step)."""
        source = generator_32bit(self.method.seed, "refresh", step)
        chosen = torch.rand(self.method.heads, generator=source) < self.method.refresh
        for number in chosen.nonzero()[:, 0].tolist():
            fresh = dict(self.pool.fresh(number, step + 1).named_parameters(prefix=f"heads.{number}"))
            self.trainer.others["heads"].replace(fresh)

    def heads_loss(self, drawn: _Update) -> StepLoss:
        """Logistic loss of the judging heads: latents of the set are 1, the student's 0."""

        def losses(part: slice) -> Tensor:
            given = self.teacher.embed(drawn.batch.captions[part])
            real = drawn.batch.latents[part].to(self.teacher.device)
            with torch.no_grad():
                clean = torch.cat([real, self.latents(drawn.noise[part], given)])
                features = self.features(clean, drawn, part, Conditioning.cat([given, given]))
            rows = len(real)
            right = self.judged(drawn, part, [block[:rows] for block in features], given, -1)
            wrong = self.judged(drawn, part, [block[rows:] for block in features], given, 1)
            return right + wrong

        return self._in_parts(losses)

    def student_loss(self, drawn: _Update) -> StepLoss:
        """Logistic loss of the student: the judging heads are to take its latents for those of the set."""

        def losses(part: slice) -> Tensor:
            given = self.teacher.embed(drawn.batch.captions[part])
            features = self.features(self.latents(drawn.noise[part], given), drawn, part, given)
            return self.judged(drawn, part, features, given, -1)

        for weight in self.pool.parameters():
            weight.requires_grad_(False)
        try:
            return self._in_parts(losses)
        finally:
            for weight in self.pool.parameters():
                weight.requires_grad_(True)

    def judged(
        self, drawn: _Update, part: slice, features: list[Tensor], given: Conditioning, sign: int
    ) -> Float[Tensor, ""]:
        """Mean over the judging heads of softplus(sign · logit), for these rows' share of all that a head judges."""
        ranges = drawn.t * RANGES // self.teacher.schedule.count
        counts = torch.bincount(ranges, minlength=RANGES)
        heads = max(1, sum(int(counts[self.pool.range(number)]) > 0 for number in drawn.judging))
        text, total = given.hidden.mean(1), features[0].new_zeros(())
        for rows, logits in self.pool(drawn.judging, features, text, ranges[part]):
            of_range = counts[ranges[part][rows[0]]]
            total = total + softplus(sign * logits).mean(1).sum() / of_range / heads
        return total

    def features(
        self, clean: Float[Tensor, "m c h w"], drawn: _Update, part: slice, given: Conditioning
    ) -> list[Tensor]:
        """Outputs of the judged blocks at noised latents, the rows of the part once or several times."""
        times = len(clean) // len(drawn.t[part])
        t, added = drawn.t[part].repeat(times), drawn.added[part].repeat(times, 1, 1, 1)
        with outputs_of(judged_blocks(self.teacher)) as found:
            self.teacher.predict(self.teacher.noised(clean, added, t), t, given)
        return [as_map(one) for one in found]

    def latents(self, noise: Float[Tensor, "n c h w"], given: Conditioning) -> Float[Tensor, "n c h w"]:
        """Clean latents by one prediction from unit noise."""
        t = torch.full((len(noise),), self.t, device=noise.device)
        return clean_estimate(noise, self.student.predict(noise, t, given), level_at(self.teacher.schedule, self.t))

    def _in_parts(self, losses: Any) -> StepLoss:
        """The sum over parts of the batch, with its gradients."""
        count, value = self.method.batch, 0.0
        size = self.method.micro_batch or count
        for first in range(0, count, size):
            loss = losses(slice(first, min(first + size, count)))
            if loss.requires_grad:
                loss.backward()
            value += float(loss.detach())
        return StepLoss(value)
