"""InvDiff's training: groups of pictures by their losses, and a second denoiser with the same risk in all of them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.precision import MixedPrecision, check_precision
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.step_randomness import batch_at, dropped_at, noise_at, timesteps_at
from intaglio.learning.trainer import Trainer
from intaglio.models.capabilities import Encodes, HasUNet, HasWeights, PredictsNoise, ReadsPrompts
from intaglio.models.diffusion.baked_sampling import FREE
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps, stored_steps
from intaglio.sampling.calls import Calls
from intaglio.sampling.trained.captioned_latents import CaptionedLatents
from intaglio.sampling.trained.family import PictureTrainer
from intaglio.sampling.trained.loss_groups import group_means, group_risk, loss_groups
from intaglio.sampling.trained.mixed_denoiser import MixedDenoiser, stored_weights
from intaglio.sampling.trained_part import TrainedPart

LOSSES, TRAINED = "picture_losses", "invariant"
"""Names of the states: of the model's losses, and of the training."""


@dataclass(frozen=True, eq=False)
class _Losses(StepState):
    """The losses so far, a picture's samples one after another."""

    losses: Float[Tensor, " m"]


@dataclass(frozen=True, kw_only=True)
class InvDiffTraining(MixedPrecision, PictureTrainer, OptimizerSettings):
    """InvDiff: a second denoiser beside a biased one, of the same risk in groups found without labels.

    The pictures are those that the model was trained on, or such as them. Of each, lᵢ is the model's denoising loss,
    the mean over `samples` pairs of a timestep and a noise. Groups are weights w [n, g], rows on the simplex, that
    maximise

        std_g(m_g) + balance · min_g(Σᵢ wᵢg / n),   m_g = Σᵢ wᵢg lᵢ / Σᵢ wᵢg,

    by Adam, clipped at 0 and divided by the rows' sums at each update: pictures that the model has seen little of have
    higher losses, and become groups. Then δ is trained beside the frozen denoiser, where (1 - kappa) · ε + kappa · δ is
    the output, of the loss

        mean_g(L_g) + variance · var_g(L_g),   L_g the means of a batch's losses with weights wᵢg,

    over the groups that are in the batch, of which two are wanted for a variance that is not 0.

    Source: arXiv 2412.08480. Our own design: δ is a copy of the whole denoiser and begins as that, where an output of
    zero would begin at (1 - kappa) · ε; losses have the target of the training, all pictures the same evenly spaced
    timesteps, and are put in their own deviations before the groups are found, so that `balance` is of one scale for
    any model; gradients of the groups go through the division of the rows; the second term of the groups' objective,
    λ₀, is read as the smallest group's share; both moments over groups are those of a population; some captions are
    left out, for guidance.
    """

    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasWeights, HasUNet)
    states_kept: ClassVar[tuple[str, ...]] = (LOSSES, TRAINED)

    steps: int = 10_000
    """Updates of δ, at least 1."""
    batch: int = 64
    """Pictures an update, 2 or more."""
    micro_batch: int | None = None
    """Latents in memory at once, at least 1; None: the whole batch. The result is the same, up to rounding."""
    groups: int = 8
    """Groups g, 2 or more."""
    samples: int = 16
    """Timesteps, each with a noise, that a picture's loss is the mean over, 1 or more."""
    epochs: int = 500
    """Updates of the groups' weights, 1 or more."""
    group_rate: float = 0.01
    """Learning rate of the groups' weights, above 0."""
    balance: float = 0.0
    """Weight λ₀ of the smallest group's share, in deviations of the losses, 0 or more; it keeps groups from dying."""
    variance: float = 1.0
    """Weight λ of the variance over groups, 0 or more; 0 trains δ on the groups' mean alone."""
    kappa: float = 0.8
    """Share of δ in the output, above 0 and at most 1; published with 0.4 to 0.9."""
    caption_dropout: float = 0.1
    """Share of captions that are left empty in the training of δ, in [0, 1)."""

    def __post_init__(self) -> None:
        PictureTrainer.__post_init__(self)
        OptimizerSettings.__post_init__(self)
        check_precision(self.precision)
        for name, least in (("batch", 2), ("groups", 2), ("samples", 1), ("epochs", 1)):
            require(getattr(self, name) >= least, f"{name} must be {least} or more, not {getattr(self, name)}")
        part = self.micro_batch
        require(part is None or part >= 1, f"micro_batch must be at least 1, or None, not {part}")
        require(0 < self.group_rate < float("inf"), f"group_rate must be above 0, and finite, not {self.group_rate}")
        for name in ("balance", "variance"):
            value = getattr(self, name)
            require(0 <= value < float("inf"), f"{name} must be 0 or more, and finite, not {value}")
        require(0 < self.kappa <= 1, f"kappa must be above 0 and at most 1, not {self.kappa}")
        require(0 <= self.caption_dropout < 1, f"caption_dropout must lie in [0, 1), not {self.caption_dropout}")

    def check(self, model: LatentDiffusion, pictures: CaptionedLatents) -> None:
        """Raises `BadInput` for one picture alone, a model in float16, a distilled one, and one of few timesteps."""
        super().check(model, pictures)
        if len(pictures.latents) < 2:
            raise BadInput("groups are of several pictures; give a folder with two or more")
        if model.dtype == torch.float16:
            raise BadInput(f"{model.name} is loaded in float16, in which updates vanish; load it in float32")
        if model.sampling != FREE:
            raise BadInput(f"{model.name} is distilled, and has no denoising loss; give its teacher")
        if self.samples > model.schedule.count:
            raise BadInput(f"{model.name} has {model.schedule.count} timesteps; give fewer --samples")

    def planned(self, model: LatentDiffusion, pictures: CaptionedLatents) -> Calls:
        """The losses of the pictures; two calls and a gradient a row of an update.

        Where memory is short the two are made again, since a group's mean is known after the whole batch alone.
        """
        again = 1 if self._rows >= self.batch else 2
        return Calls(forward=len(pictures.latents) * self.samples) + Calls(2 * again, 1).times(self.batch * self.steps)

    def __call__(self, model: LatentDiffusion, pictures: CaptionedLatents, *, run: Run = Run.none()) -> TrainedPart:
        """The weights of δ, with the losses and groups of the pictures."""
        self.check(model, pictures)
        with model.frozen():
            losses = self._picture_losses(model, pictures, run)
            groups = loss_groups(
                losses, self.groups, epochs=self.epochs, rate=self.group_rate, balance=self.balance, seed=self.seed
            )
            learnt = copy.deepcopy(model.denoiser)
            mixed = model.made_for(model.sampling, MixedDenoiser(model.denoiser, learnt, self.kappa), model.name)
            found = self._trained(mixed, pictures, groups.float(), run)
        facts = {"pictures": len(losses), "spread": float(group_means(losses.double(), groups).std(unbiased=False))}
        facts |= {"deviation": float(losses.std(unbiased=False)), "smallest_share": float(groups.mean(0).min())}
        tail = max(1, len(found) // 10)
        facts |= {"first_loss": float(found[:tail].mean()), "loss": float(found[-tail:].mean()), "kappa": self.kappa}
        tensors = {**stored_weights(learnt), "groups": groups.float(), "losses": losses}
        return self.part(model, pictures, tensors, facts)

    @property
    def _rows(self) -> int:
        """Latents in memory at once."""
        return self.micro_batch or self.batch

    def _picture_losses(self, model: LatentDiffusion, pictures: CaptionedLatents, run: Run) -> Float[Tensor, " n"]:
        """The model's mean denoising loss of each picture, kept by the run as they come."""
        count, samples = len(pictures.latents), self.samples
        firsts = range(0, count * samples, self._rows)
        cuts = [range(first, min(first + self._rows, count * samples)) for first in firsts]
        t = loss_timesteps(model.schedule.count, samples)

        def measure(state: _Losses) -> _Losses:
            rows = cuts[state.step]
            own, drawn = [row // samples for row in rows], [row % samples for row in rows]
            noise = torch.stack([self._loss_noise(pictures, k, sample) for k, sample in zip(own, drawn, strict=True)])
            captions = [pictures.captions[k] for k in own]
            with torch.no_grad():
                found = _errors(model, pictures.latents[own], noise, t[drawn], captions)
            return replace(state, step=state.step + 1, losses=torch.cat([state.losses, found.cpu()]))

        match = {"rows": self._rows, "samples": samples}
        with run.progress(len(cuts), "losses", stored_steps(run, LOSSES, match)) as progress:
            begun = _Losses(0, torch.zeros(0))
            noted: Callable[[StepState, StepState], None] = lambda before, after: progress.advance()  # noqa: E731
            done = in_steps(run, LOSSES, match, begun, measure, steps=len(cuts), noted=noted)
        return done.losses.view(count, samples).mean(1)

    def _loss_noise(self, pictures: CaptionedLatents, picture: int, sample: int) -> Float[Tensor, "c h w"]:
        return torch.randn(pictures.latents.shape[1:], generator=generator(self.seed, "losses", picture, sample))

    def _trained(
        self, mixed: LatentDiffusion, pictures: CaptionedLatents, groups: Float[Tensor, "n g"], run: Run
    ) -> Float64[Tensor, " steps"]:
        """Trains δ in place, and returns the losses of the updates."""
        trainer = Trainer(dict(mixed.denoiser.learnt.named_parameters()), self, precision=self.precision)
        checkpoints = Checkpoints(run, every_s=60.0, streams=(TRAINED,), state=TRAINED)
        checkpoints.restore(trainer)
        advice = f"try a learning rate below {self.learning_rate:g}"

        def objective(step: int) -> StepLoss:
            return self._loss(mixed, pictures, groups, step)

        with computing_in(self.precision, [mixed.denoiser]):
            train(trainer, objective, run, checkpoints, advice=advice, label=TRAINED, stream=TRAINED)
        trainer.export()
        return trainer.losses

    def _loss(
        self, mixed: LatentDiffusion, pictures: CaptionedLatents, groups: Float[Tensor, "n g"], step: int
    ) -> StepLoss:
        """The loss of an update, with its gradients: of each row's error by the whole batch, then of δ."""
        rows = batch_at(range(len(groups)), step, self.batch, self.seed, TRAINED)
        latents, weights = pictures.latents[rows], groups[rows].to(mixed.device)
        noise = noise_at(latents.shape, step, self.seed)
        t = timesteps_at(self.batch, mixed.schedule.count, step, self.seed)
        empty = dropped_at(self.batch, self.caption_dropout, step, self.seed).tolist()
        captions = ["" if out else pictures.captions[row] for row, out in zip(rows, empty, strict=True)]

        def errors_of(part: slice) -> Tensor:
            return _errors(mixed, latents[part], noise[part], t[part], captions[part])

        parts = [slice(first, first + self._rows) for first in range(0, self.batch, self._rows)]
        whole = len(parts) == 1  # with several the graph of one at a time is in memory
        with torch.set_grad_enabled(whole):
            errors = [errors_of(part) for part in parts]
        given = torch.cat(errors).detach().requires_grad_(True)
        with torch.enable_grad():
            risk = group_risk(given, weights)
            loss = risk.mean + self.variance * risk.variance
        (gradient,) = torch.autograd.grad(loss, given)
        for part, error in zip(parts, errors, strict=True):
            (error if whole else errors_of(part)).backward(gradient[part])
        beside = {"mean": float(risk.mean.detach()), "variance": float(risk.variance.detach())}
        return StepLoss(float(loss.detach()), beside=beside)


def loss_timesteps(count: int, samples: int) -> Tensor:
    """Timesteps in the middle of `samples` equal parts of a schedule of `count`, int64 [samples]."""
    return ((torch.arange(samples) + 0.5) * count / samples).long()


def _errors(
    model: LatentDiffusion, latents: Tensor, noise: Tensor, t: Tensor, captions: list[str]
) -> Float[Tensor, " n"]:
    """Denoising losses of rows that are on the CPU."""
    with torch.no_grad():
        given = model.embed(captions)
    return model.error(latents.to(model.device), noise.to(model.device), t.to(model.device), given)
