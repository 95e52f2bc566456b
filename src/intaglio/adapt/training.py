"""Fine-tuning of a diffusion model on the denoising error, which every method shares.

A method chooses which weights are trained; what is exported follows from them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from intaglio.adapt.bayesian import Posterior, warnings_of
from intaglio.adapt.corruption import Judgement
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.grids import draw_samples, save_grid
from intaglio.adapt.own_steps import OwnSteps
from intaglio.adapt.settings import BayesianTraining, Training, Watch
from intaglio.adapt.trainable import Trainable
from intaglio.adapt.training_examples import StepBatch, TrainingExamples
from intaglio.adapt.watching import Judge
from intaglio.errors import BadInput
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.sharing_processes import ALONE, Processes
from intaglio.learning.stop_rule import ALL_STEPS, StopRule
from intaglio.learning.trainer import NOTHING, Trainer
from intaglio.models.diffusion.latent_diffusion import Conditioning, LatentDiffusion
from intaglio.runs.run import Run

SIGMA_EVERY = 50
"""Steps between two logs of the sigmas."""
DOMINANT_RATIO = 10
"""A divergence of more than so many times the loss holds the weights at the base's."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The course of a fine-tune, beside its weights."""

    losses: Float64[Tensor, " steps"]
    """Loss of every step that was made; NaN for one that was left out."""
    curve: tuple[Judgement, ...] = ()
    """Judgements of sample pictures on the way; empty where none were asked for."""
    kept: int | None = None
    """The step whose weights are exported; None for the last."""
    random: float = 0.0
    """Share of the trained numbers that were random, in [0, 1]."""

    @property
    def last_losses(self) -> Float64[Tensor, " last"]:
        """The losses of the last tenth of the steps, at least one."""
        return self.losses[-max(1, len(self.losses) // 10) :]


def fine_tune(
    model: LatentDiffusion,
    trainable: Trainable,
    data: TrainingSet,
    settings: BayesianTraining,
    run: Run,
    watch: Watch,
    stop: StopRule = ALL_STEPS,
    processes: Processes = ALONE,
    own: OwnSteps | None = None,
) -> Trained:
    """Minimise the denoising error of `data` over the trainable weights, in place.

    A run that was killed goes on from its last saved state and ends with the same bits; see `learning.loop`. With
    random weights, one step whose loss is not finite is left out before the run ends.

    Args:
        model: the caller's own copy, in which the weights are trained.
        trainable: the weights; an adapter is attached to the model already.
        data: pictures with prompts, and class pictures where there are any.
        settings: of the method.
        run: takes logs, states and pictures.
        watch: which pictures are drawn and judged meanwhile, and what follows from it.
        stop: may end the training before its last step.
        processes: that share each step; only the main one has a run, a watch and a stop rule.
        own: steps in place of those of the denoising error, with gradients of their own; no weight is random then.

    Raises:
        BadInput: the model is in float16, or there are more processes than pictures in a step.
        IntaglioError: the loss is not finite; the last good state is saved.
    """
    freeze(model)
    check_share(processes, settings.step_size(data.class_images is not None))
    for warning in trainable.warnings:
        run.warn(warning)
    posterior = Posterior(trainable.weights, trainable.random_scales(settings), settings)
    if settings.bayesian:
        for warning in warnings_of(settings, posterior, data.distinct, adapter=trainable.adapter is not None):
            run.warn(warning)
    examples = TrainingExamples(model, data, settings)
    kept = NOTHING if own is None else own.kept
    trainer = Trainer(trainable.weights, settings, posterior.sigmas, kept=kept, precision=settings.precision)
    shared = partial(_objective, model, examples, posterior, settings, processes)
    every_s, every = watch.checkpoint_every_s, watch.checkpoint_every
    checkpoints = Checkpoints(run, every_s=every_s, every=every, streams=("train", "sigma"))
    judge = Judge(model, data, settings, run, watch)
    checkpoints.restore(trainer)
    processes.start_alike(trainer)
    with checkpointed(model, settings), computing_in(settings.precision, learning_parts(model)):
        judge.restore(trainer)
        train(
            trainer,
            shared if own is None else partial(own.objective, examples),
            run,
            checkpoints,
            watchers=(
                lambda trainer, _: stop.after_step(trainer.step),
                lambda trainer, loss: _watch_sigmas(posterior, trainer, loss, settings, run),
                lambda trainer, _: _draw_when_due(model, data, trainer, settings, watch, run),
                lambda trainer, _: judge.judge_when_due(trainer),
            ),
            stopped=lambda: judge.stopped or stop.stops(),
            may_skip=settings.bayesian,  # one unlucky draw of the weights is no fault of their means
            advice=f"try a learning rate below {settings.highest_rate:g}, a warm-up, or clipping the gradient",
            label="fine-tune",
            processes=processes,
        )
    trainer.export(judge.best_weights())
    return Trained(trainer.losses[: trainer.step], tuple(judge.curve), judge.kept, posterior.share)


def check_share(processes: Processes, pictures: int) -> None:
    """Raises `BadInput` where a process would have no picture of a step."""
    if pictures < processes.count:
        raise BadInput(
            f"a step of {pictures} pictures cannot be shared by {processes.count} processes; give a larger --batch, or "
            "start fewer"
        )


def _objective(
    model: LatentDiffusion,
    examples: TrainingExamples,
    posterior: Posterior,
    settings: BayesianTraining,
    processes: Processes,
    step: int,
) -> StepLoss:
    """The denoising error of a step; apart, the class pictures' part of it (`prior`) and the divergence."""
    sampled = partial(posterior.sampled, step)
    loss, parts = accumulate(model, examples, examples.at(step), settings, sampled, processes)
    processes.add_gradients(posterior.trained)
    divergence = posterior.add_divergence()
    return StepLoss(loss, parts if divergence is None else {**parts, "divergence": divergence})


def accumulate(
    model: LatentDiffusion,
    examples: TrainingExamples,
    batch: StepBatch,
    settings: Training,
    sampled: Callable[[int], AbstractContextManager[None]] = lambda _: nullcontext(),
    processes: Processes = ALONE,
) -> tuple[float, dict[str, float]]:
    """Adds the gradients of a step's loss, by micro-batches; returns the loss and, apart, its class pictures' part.

    The loss is a weighted sum over pictures, so the sum over micro-batches is the step's own up to rounding. Forward
    and backward pass of the k-th micro-batch run inside `sampled(k)`. Of each micro-batch `processes` share the
    pictures, and the gradients added are those of this one's own.
    """
    shares = torch.zeros_like(batch.weights)
    size = settings.micro_batch or len(batch)
    for index, start in enumerate(range(0, len(batch), size)):
        rows = processes.rows(start, min(start + size, len(batch)))
        part = batch[rows]
        if not len(part):
            continue
        with sampled(index):
            shares[rows] = part.weights * descend(model, examples, part, settings)
    shares = processes.summed(shares)
    prior = {"prior": float(shares[settings.batch :].sum())} if len(batch) > settings.batch else {}
    return float(shares.sum()), prior


def descend(
    model: LatentDiffusion, examples: TrainingExamples, part: StepBatch, settings: Training
) -> Float[Tensor, " n"]:
    """Adds the gradients of a micro-batch's share of the loss; returns each picture's error."""
    error = denoising_error(model, part, examples.conditioning(part.prompts), settings.snr_gamma)
    (part.weights * error).sum().backward()
    return error.detach()


def denoising_error(
    model: LatentDiffusion, batch: StepBatch, conditioning: Conditioning, snr_gamma: float | None
) -> Float[Tensor, " n"]:
    """Each picture's mean squared error in the network's own target, or that of the noise with min-SNR weights.

    min(SNR, gamma) times the squared error of the clean latents is min(SNR, gamma) / SNR times that of the noise,
    whatever the network predicts (arXiv 2303.09556, section 3.4).
    """
    if snr_gamma is None:
        return model.error(batch.latents, batch.noise, batch.timesteps, conditioning)
    signal_, noise_ = model.schedule.signal(batch.timesteps), model.schedule.noise(batch.timesteps)
    ratio = (signal_ / noise_).square().to(batch.latents)
    noised = model.noised(batch.latents, batch.noise, batch.timesteps)
    error = (model.predict(noised, batch.timesteps, conditioning) - batch.noise).square().flatten(1).mean(1)
    return (snr_gamma / ratio).clamp(max=1.0) * error


def freeze(model: LatentDiffusion) -> None:
    """Let no weight of the denoiser and the text encoders collect gradients. Raises `BadInput` for float16."""
    if model.dtype == torch.float16:
        raise BadInput(f"{model.name} is loaded in float16, in which updates vanish; load it in float32 to train it.")
    for part in learning_parts(model):
        part.requires_grad_(False)


def learning_parts(model: LatentDiffusion) -> list[nn.Module]:
    """All parts of a model but the autoencoder, which copies of a model share."""
    return [part for name, part in model.parts.items() if name != "autoencoder"]


@contextmanager
def checkpointed(model: LatentDiffusion, settings: Training) -> Iterator[None]:
    """While the block runs, dropout is off, so that a step is a function of (seed, step), and gradient checkpointing on
    where it is asked for.
    """
    parts = learning_parts(model)
    modes = {module: module.training for part in parts for module in part.modules()}
    with ExitStack() as undo:
        undo.callback(lambda: [setattr(module, "training", mode) for module, mode in modes.items()])
        for part in parts:
            part.train(settings.gradient_checkpointing)
            for module in part.modules():
                if isinstance(module, nn.Dropout):
                    module.eval()
            if settings.gradient_checkpointing:
                undo.callback(_recompute(part))
        yield


def _recompute(part: nn.Module) -> Callable[[], None]:
    """Switches gradient checkpointing on; returns a function that switches it off again."""
    # diffusers' name first, then transformers' new one and old one.
    names = ("{}able_gradient_checkpointing", "activation_checkpointing_{}able", "gradient_checkpointing_{}able")
    name = next(name for name in names if hasattr(part, name.format("en")))
    getattr(part, name.format("en"))()
    return getattr(part, name.format("dis"))


def _watch_sigmas(posterior: Posterior, trainer: Trainer, loss: StepLoss, settings: BayesianTraining, run: Run) -> None:
    """Keeps the sigmas positive; every 50 steps logs their quantiles, and warns of a divergence far above the loss."""
    posterior.keep_positive()
    if not len(posterior) or trainer.skipped or (trainer.step % SIGMA_EVERY and trainer.step != settings.steps):
        return
    run.log("sigma", trainer.step, **posterior.quantiles())
    if (ratio := loss.parts.get("divergence", 0.0) / loss.value) > DOMINANT_RATIO:
        run.warn(
            f"kl_weight {settings.kl_weight:g} makes the divergence {ratio:.0f} times the loss at step {trainer.step}: "
            "the weights are held at the base's; take a smaller one, or kl_reduction mean"
        )


def _draw_when_due(
    model: LatentDiffusion, data: TrainingSet, trainer: Trainer, settings: Training, watch: Watch, run: Run
) -> None:
    """Draws sample pictures with the weights that would be exported now, every `sample_every` steps."""
    if watch.sample_every and trainer.step % watch.sample_every == 0:
        with trainer.exported():
            save_grid(draw_samples(model, data, settings.seed, watch), trainer.step, run, watch)
