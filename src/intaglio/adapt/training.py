"""The loop that every fine-tuning method shares: they only say which weights learn and what is exported."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from intaglio.adapt.bayesian import Posterior, warnings_of
from intaglio.adapt.corruption import Judgement
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.examples import Draw, Examples
from intaglio.adapt.grids import draw_samples, save_grid
from intaglio.adapt.settings import BayesianTraining, Training, Watch
from intaglio.adapt.watching import Watcher
from intaglio.errors import BadInput, IntaglioError
from intaglio.learning.checkpoints import Keeper
from intaglio.learning.interrupt import held_interrupt
from intaglio.learning.learner import Learner, Weights
from intaglio.models.diffusion.latent_diffusion import Conditioning, LatentDiffusion
from intaglio.runs.run import Run

TOLD = 50
"""Steps between two looks at the sigmas."""
DROWNED = 10
"""A divergence of more times the loss leaves nothing of it."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What the loop leaves beside the weights."""

    losses: Float64[Tensor, " steps"]
    """Of every step that was made."""
    curve: tuple[Judgement, ...] = ()
    """What the pictures looked like on the way; empty where nobody watched."""
    kept: int | None = None
    """The step whose weights are exported; None for the last."""
    random: float = 0.0
    """Share of the trained numbers that were random, in [0, 1]."""


def train(
    model: LatentDiffusion,
    weights: Weights,
    data: TrainingSet,
    settings: BayesianTraining,
    run: Run,
    watch: Watch,
    random: Mapping[str, float] = MappingProxyType({}),
) -> Trained:
    """Minimise the denoising error of `data` over `weights`, in place.

    `weights` are trained in `model`, which must be the caller's own copy; those named in `random` are random while
    they learn, with the given scales (`bayesian.Posterior`). A run that was killed goes on from its last saved state
    and ends with the same bits, on the same machine with the same number of threads. Raises `IntaglioError` where the
    loss is no longer finite, with the last good state saved; with random weights one such step is left out first.
    """
    freeze(model)
    posterior = Posterior(weights, random, settings)
    pictures = len(set(data.images.hashes))
    for warning in warnings_of(settings, posterior, pictures) if settings.bayesian else ():
        run.warn(warning)
    examples = Examples(model, data, settings)
    learner = Learner(weights, settings, posterior.sigmas)
    keeper = Keeper(run, every_s=watch.checkpoint_every_s, every=watch.checkpoint_every, streams=("train", "sigma"))
    watcher = Watcher(model, data, settings, run, watch)
    keeper.restore(learner)
    with (
        checkpointed(model, settings),
        run.progress(settings.steps, "fine-tune", learner.step) as progress,
        held_interrupt() as interrupted,
    ):
        watcher.restore(learner)
        while learner.step < settings.steps and not watcher.stopped:
            loss, parts = _gradients(model, examples, posterior, learner.step, settings)
            norm = learner.gradient_norm()
            rate = learner.rate()
            if math.isfinite(sum(parts.values(), loss) + float(norm)):
                learner.update(loss, norm)
                posterior.keep_positive()
                run.log("train", learner.step, loss=loss, lr=rate, gradient_norm=float(norm), **parts)
                _tell_of(posterior, learner.step, loss, parts, settings, run)
            elif settings.bayesian and not learner.halved:
                learner.skip()  # one unlucky draw of the weights says little about the means
                run.warn(
                    f"the loss was not finite at step {learner.step}: it is left out, and the rate halved from there"
                )
            else:
                keeper.keep(learner)
                raise IntaglioError(_diverged(learner.step, settings))
            if watch.sample_every and learner.step % watch.sample_every == 0:
                with learner.exported():
                    save_grid(draw_samples(model, data, settings.seed, watch), learner.step, run, watch)
            watcher.look_when_due(learner)
            keeper.keep_when_due(learner)
            if interrupted():
                keeper.keep(learner)
                raise KeyboardInterrupt
            progress.advance(1, loss=loss)
    keeper.keep(learner)
    learner.export(watcher.best_weights())
    return Trained(learner.losses[: learner.step], tuple(watcher.curve), watcher.kept, posterior.share)


def _gradients(
    model: LatentDiffusion, examples: Examples, posterior: Posterior, step: int, settings: BayesianTraining
) -> tuple[float, dict[str, float]]:
    """Gradients of a step's whole objective; its loss, and by name the class pictures' part and the divergence."""
    loss, parts = accumulate(model, examples, examples.at(step), settings, partial(posterior.drawn, step))
    divergence = posterior.add_divergence()
    return loss, parts if divergence is None else {**parts, "divergence": divergence}


def accumulate(
    model: LatentDiffusion,
    examples: Examples,
    draw: Draw,
    settings: Training,
    drawn: Callable[[int], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> tuple[float, dict[str, float]]:
    """Gradients of a step's loss, summed over micro-batches; returns the loss and, apart, its class pictures' part.

    The loss is a weighted sum over pictures, so the sum over micro-batches is the step's own up to rounding. The k-th
    micro-batch goes forth and back inside `drawn(k)`.
    """
    errors = []
    for place, start in enumerate(range(0, len(draw), settings.micro_batch or len(draw))):
        part = draw[start : start + (settings.micro_batch or len(draw))]
        with drawn(place):
            error = denoising_error(model, part, examples.conditioning(part.prompts), settings.snr_gamma)
            (part.weights * error).sum().backward()
        errors.append(error.detach())
    shares = draw.weights * torch.cat(errors)
    prior = {"prior": float(shares[settings.batch :].sum())} if len(draw) > settings.batch else {}
    return float(shares.sum()), prior


def denoising_error(
    model: LatentDiffusion, draw: Draw, conditioning: Conditioning, snr_gamma: float | None
) -> Float[Tensor, " n"]:
    """Each picture's mean squared error: in the network's own target, or weighted by its signal-to-noise ratio.

    min(SNR, gamma) times the squared error of the clean latents is min(SNR, gamma) / SNR times that of the noise,
    whatever the network predicts (arXiv 2303.09556, section 3.4).
    """
    if snr_gamma is None:
        return model.error(draw.latents, draw.noise, draw.timesteps, conditioning)
    signal_, noise_ = model.schedule.signal(draw.timesteps), model.schedule.noise(draw.timesteps)
    ratio = (signal_ / noise_).square().to(draw.latents)
    noised = model.noised(draw.latents, draw.noise, draw.timesteps)
    error = (model.predict(noised, draw.timesteps, conditioning) - draw.noise).square().flatten(1).mean(1)
    return (snr_gamma / ratio).clamp(max=1.0) * error


def freeze(model: LatentDiffusion) -> None:
    """No weight of the denoiser and the text encoders learns. Raises `BadInput` where none could."""
    if model.dtype == torch.float16:
        raise BadInput(f"{model.name} is loaded in float16, in which updates vanish; load it in float32 to train it.")
    for part in learning_parts(model):
        part.requires_grad_(False)


def learning_parts(model: LatentDiffusion) -> list[nn.Module]:
    """All parts but the autoencoder, which copies of a model share."""
    return [part for name, part in model.parts.items() if name != "autoencoder"]


@contextmanager
def checkpointed(model: LatentDiffusion, settings: Training) -> Iterator[None]:
    """Dropout stays off, so that a step is a function of (seed, step); activations are recomputed where asked."""
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
    """Switches recomputing on; returns what switches it off. diffusers' name first, then transformers' new and old."""
    names = ("{}able_gradient_checkpointing", "activation_checkpointing_{}able", "gradient_checkpointing_{}able")
    name = next(name for name in names if hasattr(part, name.format("en")))
    getattr(part, name.format("en"))()
    return getattr(part, name.format("dis"))


def _tell_of(
    posterior: Posterior, step: int, loss: float, parts: Mapping[str, float], settings: BayesianTraining, run: Run
) -> None:
    """Every so many steps, where the sigmas are, and whether the divergence drowns the loss."""
    if not len(posterior) or (step % TOLD and step != settings.steps):
        return
    run.log("sigma", step, **posterior.quantiles())
    if (ratio := parts.get("divergence", 0.0) / loss) > DROWNED:
        run.warn(
            f"kl_weight {settings.kl_weight:g} makes the divergence {ratio:.0f} times the loss at step {step}: the "
            "weights are held at the base's; take a smaller one, or kl_reduction mean"
        )


def _diverged(step: int, settings: Training) -> str:
    return (
        f"The loss is not finite at step {step + 1}: the state before it is saved; "
        f"try a learning rate below {settings.learning_rate:g}, a warm-up, or clipping the gradient."
    )
