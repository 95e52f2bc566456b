"""dmm: the model is trained to predict what a model without the pictures is estimated to predict."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from intaglio.audit.influence.factor_fit import STAGES, FactorFit, Noises, factored
from intaglio.audit.influence.gradient_features import shared_noises, weight_sizes
from intaglio.audit.influence.kronecker_factors import LayerFactors
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.family import PictureSet, Unlearner
from intaglio.audit.unlearning.result import Unlearned
from intaglio.audit.unlearning.tuning import embedded, mean_squares, trained
from intaglio.audit.unlearning.unet_modules import Modules, chosen_weights
from intaglio.denoising.training_times import training_times
from intaglio.errors import BadInput, IntaglioError, require
from intaglio.learning.checkpoints import STATE
from intaglio.learning.loop import Objective, StepLoss
from intaglio.learning.loss_parts import in_parts, last_mean
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.step_randomness import batch_at, noise_at
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps, stored_steps
from intaglio.sampling.calls import Calls
from intaglio.sampling.trained.captioned_latents import CaptionedLatents

CURVATURE = {stage: f"curvature-{stage}" for stage in STAGES}
FORGOTTEN = "gradient-forget"


@dataclass(frozen=True, eq=False)
class _Summed(StepState):
    """Sums over the pictures so far."""

    total: Float[Tensor, "p"]
    """Of their gradients by the weights that have factors, one after the other."""
    squares: Float64[Tensor, "2"]
    """Of the squared norms of these, and of the gradients by all weights."""


class Matched(NamedTuple):
    """A student beside its teacher, and the pictures on which it is matched."""

    teacher: LatentDiffusion
    student: LatentDiffusion
    data: CaptionedLatents
    texts: Mapping[str, Conditioning]
    """A row for every caption."""


@dataclass(frozen=True, kw_only=True)
class DatamodelMatching(OptimizerSettings, Unlearner):
    """Datamodel matching: pictures are forgotten by matching an estimate of the model without them.

    With theta [p] the given weights, L_i the denoising loss of picture i and n all pictures that the model was tuned
    on, those to forget (F) and those to retain, the model without F is estimated to first order as

        theta_F = theta + multiplier * (1 / n) (H + lambda)^-1 sum_F grad L_i,

    H the Gauss-Newton matrix of the training loss by EK-FAC, as in `audit influence ekfac`. The denoiser of these
    weights is frozen as teacher, and a training step of the model lowers | e(x_t, c) - teacher(x_t, c) |^2 over noised
    pictures x_t of F and of a random part of the rest, each under its caption c. Taking F out moves the predictions of
    the rest too, so that the teacher predicts both.

    A model that is not at the least of its training loss, as one tuned in few steps, has gradients along directions of
    no curvature, by which the estimate is far too large at a small damping: `relative_change` in the result is its norm
    over that of the weights, and above 1 there is a warning.

    Layers without factors keep their weights in the teacher: biases, norms, convolutions in groups, and layers with a
    side above `side`. The result says which share of the gradient's squared norm its layers have.

    Source: arXiv 2410.23232, where effects of pictures on the outputs of a classifier, by a datamodel, are taken from
    its outputs. The teacher's weights by EK-FAC, for predictions of noise, and the defaults are this package's own.
    """

    reading: ClassVar[str] = "by training the model to predict what it is estimated to predict without the pictures"
    forgets: ClassVar[Literal["concept", "pictures"]] = "pictures"
    learns_from: ClassVar[tuple[PictureSet, ...]] = ("concept", "keep")
    states: ClassVar[tuple[str, ...]] = (STATE, FORGOTTEN, *CURVATURE.values())

    steps: int = 100
    """Updates, at least 1."""
    learning_rate: float = 1e-5
    """Learning rate of Adam, above 0."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay, as a fraction of the learning rate, 0 or more."""
    clip: float | None = None
    """Largest norm of the gradient over all trained weights; None leaves it as it is."""
    batch: int = 8
    """Rows an update, at least 1."""
    micro_batch: int = 16
    """Rows in memory at once, at least 1. The result is the same, up to rounding."""
    modules: Modules = "all"
    """Weights that are trained: x, the cross-attention; x-strict, its keys and values; u, linear layers and
    convolutions outside it; all."""
    weights: Literal["attention", "layers", "all"] = "attention"
    """Weights that the teacher may change: attention, the projections that a LoRA changes by default; layers, the
    feed-forward layers and convolutions too that a LoRA can change; all, every one that has factors."""
    side: int = 1024
    """Longest side of the factors of a layer, from 1, in entries: of a convolution channels times the kernel's cells;
    the time for eigenvectors grows with its cube."""
    timesteps: int = 10
    """Timesteps of each picture for curvature and gradients, 1 to 1000, evenly spaced from 0."""
    draws: int = 2
    """Random signs for the curvature of each noised picture, from 1."""
    damping: float = 0.1
    """The lambda that is added, as a share of a layer's mean curvature, above 0."""
    multiplier: float = 1.0
    """Factor of the estimated change, above 0; other values than 1 make up for an estimate of a wrong size."""
    retain_share: float = 3.0
    """Pictures of the rest that are matched too, for each one to forget, 0 or more; all where there are fewer."""
    seed: int = 0
    """Seed of signs, of the part of the rest, of batches, timesteps and noise, from 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch", "micro_batch", "side", "timesteps", "draws"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(self.timesteps <= 1000, f"timesteps must be at most 1000, not {self.timesteps}")
        for name, known in {
            "modules": ("x", "x-strict", "u", "all"),
            "weights": ("attention", "layers", "all"),
        }.items():
            value = getattr(self, name)
            require(value in known, f"{name} must be one of {', '.join(known)}, not {value!r}")
        for name in ("damping", "multiplier"):
            value = getattr(self, name)
            require(0 < value < math.inf, f"{name} must be above 0, and finite, not {value}")
        share = self.retain_share
        require(0 <= share < math.inf, f"retain_share must be 0 or more, and finite, not {share}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")

    def check(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a model that it cannot change, or without layers that have factors."""
        super().check(model)
        if not chosen_weights(model.denoiser, self.modules):
            raise BadInput(f"{model.name} has no weights of --modules {self.modules}; take --modules all")
        self._factored(model)

    @property
    def rows(self) -> int:
        """Rows that go through a network together."""
        return min(self.batch, self.micro_batch)

    def planned(self, concept: Concept, *, forget: int, retain: int) -> Calls:
        """Those of the curvature, of the gradients of what is forgotten, and of the updates with their teacher."""
        asked = self.timesteps * (2 * self.draws * (forget + retain) + forget)
        updates = self.batch * self.steps
        return Calls(forward=asked + 2 * updates, backward=asked + updates)

    def __call__(
        self,
        model: LatentDiffusion,
        concept: Concept,
        *,
        forget: CaptionedLatents | None = None,
        retain: CaptionedLatents | None = None,
        run: Run = Run.none(),
    ) -> Unlearned:
        """Estimates the model without the pictures, and trains towards it; see the family."""
        student = self.begun(model, concept, forget, retain)
        if forget is None or retain is None:  # which `begun` has refused
            raise BadInput(f"{self.name} needs the pictures to forget, and those that stay")
        if both := len(set(forget.asked) & set(retain.asked)):
            raise BadInput(f"{both} of the pictures to forget are among those that stay; leave them out of --retain")
        with model.frozen():
            teacher, facts = self.teacher(model, forget, retain, run)
            data = self.matched(forget, retain)
            texts = embedded(model, data.captions)
            objective = self.objective(Matched(teacher, student, data, texts))
            weights = chosen_weights(student.denoiser, self.modules)
            losses = trained(weights, self, objective, run)
        gaps = {"first_loss": float(losses[: max(1, len(losses) // 10)].mean()), "last_loss": last_mean(losses)}
        return self.found(model, student, concept, {**facts, **gaps}, forgotten=len(forget.captions))

    def teacher(
        self, model: LatentDiffusion, forget: CaptionedLatents, retain: CaptionedLatents, run: Run
    ) -> tuple[LatentDiffusion, dict[str, float]]:
        """The model of the weights theta_F, frozen, with figures of the change."""
        noises = list(shared_noises(model, tuple(forget.latents.shape[1:]), self.timesteps, 1, **self._cut))
        names = list(self._factored(model))
        fit = FactorFit(names, noises, self.draws, self.seed, self.name)
        latents = torch.cat([forget.latents, retain.latents])
        factors = fit(model, [*forget.asked, *retain.asked], latents, CURVATURE, run)
        teacher = model.made_for(
            model.sampling, copy.deepcopy(model.denoiser).eval(), f"{model.name} without the pictures"
        )
        summed = self._gradient(teacher, names, noises, forget, run)
        teacher.denoiser.requires_grad_(False)
        changes = self.changes(factors, summed.total, len(latents))
        own, moved = dict(teacher.denoiser.named_parameters()), [0.0, 0.0]
        for name, change in changes.items():
            moved[0] += float(change.square().sum())
            moved[1] += float(own[name].double().square().sum())
            own[name].add_(change.view(own[name].shape).to(own[name]))
        share = float(summed.squares[0] / summed.squares[1]) if summed.squares[1] > 0 else 0.0
        change = math.sqrt(moved[0] / moved[1]) if moved[1] else 0.0
        if change > 1:
            run.warn(
                f"the estimated change of the weights is {change:.3g} times as large as these, where an estimate of "
                "first order says nothing; give a larger --damping, or a smaller --multiplier"
            )
        return teacher, {"gradient_share": share, "relative_change": change}

    def changes(
        self, factors: Mapping[str, LayerFactors], total: Float[Tensor, "p"], count: int
    ) -> dict[str, Float64[Tensor, "o i"]]:
        """theta_F - theta of each weight with factors, from the summed gradients and the number of all pictures.

        Raises `IntaglioError` where it is not finite.
        """
        parts = total.split([one.values.numel() for one in factors.values()])
        found = {
            name: self.multiplier / count * one.solved(part.view(one.values.shape), self.damping)
            for (name, one), part in zip(factors.items(), parts, strict=True)
        }
        if not all(bool(one.isfinite().all()) for one in found.values()):
            raise IntaglioError("the estimated change of the weights is not finite; give a larger --damping")
        return found

    def matched(self, forget: CaptionedLatents, retain: CaptionedLatents) -> CaptionedLatents:
        """The pictures to forget, and a random part of the rest."""
        order = torch.randperm(len(retain.captions), generator=generator(self.seed, "part of the rest")).tolist()
        part = sorted(order[: round(self.retain_share * len(forget.captions))])
        captions = (*forget.captions, *(retain.captions[row] for row in part))
        return CaptionedLatents(torch.cat([forget.latents, retain.latents[part]]), captions)

    def objective(self, matched: Matched) -> Objective:
        """The squared distance from the teacher's prediction."""
        data, student, device = matched.data, matched.student, matched.student.device

        def at(step: int) -> StepLoss:
            rows = batch_at(range(len(data.captions)), step, self.batch, self.seed, "matched")
            t = training_times(student.schedule, self.batch, step, self.seed)
            noise = noise_at((self.batch, *data.latents.shape[1:]), step, self.seed)

            def errors_of(part: slice) -> Float[Tensor, "n"]:
                clean, own, times = (one[part].to(device) for one in (data.latents[rows], noise, t))
                x, text = student.noised(clean, own, times), _text(matched.texts, data.captions, rows[part])
                with torch.no_grad():
                    target = matched.teacher.predict(x, times, text)
                return mean_squares(student.predict(x, times, text), target)

            return in_parts(self.batch, self.micro_batch, errors_of)

        return at

    def _gradient(
        self, teacher: LatentDiffusion, names: Sequence[str], noises: Noises, forget: CaptionedLatents, run: Run
    ) -> _Summed:
        """The sum of the gradients of what is forgotten, at the given weights."""
        every = dict(teacher.denoiser.requires_grad_(True).named_parameters())
        places = {name: k for k, name in enumerate(every)}
        count = sum(len(t) for _, t in noises)

        def add(state: _Summed) -> _Summed:
            latent = forget.latents[state.step].to(teacher.device)
            with torch.no_grad():
                text = teacher.embed([forget.captions[state.step]])
            total = [torch.zeros_like(one) for one in every.values()]
            for noise, t in noises:
                error = teacher.error(latent.expand_as(noise), noise, t, text).sum() / count
                for sum_, one in zip(
                    total, torch.autograd.grad(error, list(every.values()), materialize_grads=True), strict=True
                ):
                    sum_ += one
            own = torch.cat([total[places[name]].flatten().cpu() for name in names])
            norms = [float(own.double().square().sum()), sum(float(one.double().square().sum()) for one in total)]
            squares = state.squares + torch.tensor(norms, dtype=torch.float64)
            return replace(state, step=state.step + 1, total=state.total + own, squares=squares)

        begun = _Summed(0, torch.zeros(sum(every[name].numel() for name in names)), torch.zeros(2, dtype=torch.float64))
        match: dict[str, Any] = {"pictures": len(forget.captions)}
        with run.progress(match["pictures"], f"{self.name} gradients", stored_steps(run, FORGOTTEN, match)) as progress:
            return in_steps(
                run, FORGOTTEN, match, begun, add, steps=match["pictures"], noted=lambda *states: progress.advance()
            )

    @property
    def _cut(self) -> dict[str, int]:
        return {"seed": self.seed, "at_once": self.micro_batch}

    def _factored(self, model: LatentDiffusion) -> dict[str, int]:
        return factored(model, weight_sizes(model, self.weights), self.side, self.weights)


def _text(texts: Mapping[str, Conditioning], captions: Sequence[str], rows: Sequence[int]) -> Conditioning:
    return Conditioning.cat([texts[captions[row]] for row in rows])
