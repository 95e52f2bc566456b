"""A stage of a distillation: the training of all weights of a student's denoiser under one objective."""

from jaxtyping import Float64
from torch import Tensor

from intaglio.distill.family import Distiller
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import Objective, train
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.recomputing import recomputing
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run

CHECKPOINT_EVERY_S = 60.0
"""Seconds between two saved states."""


def train_stage(
    student: LatentDiffusion, settings: Distiller, objective: Objective, run: Run, name: str, *guides: LatentDiffusion
) -> Float64[Tensor, " steps"]:
    """Trains the denoiser in place, and returns the losses; `name` is that of its state, its log and its progress.

    The models that guide it compute in the precision of the settings as it does.

    A stage that was finished before is read from its state. Raises `IntaglioError` for a loss that is not finite.
    """
    trainer = Trainer(dict(student.denoiser.named_parameters()), settings, precision=settings.precision)
    checkpoints = Checkpoints(run, every_s=CHECKPOINT_EVERY_S, streams=(name,), state=name)
    checkpoints.restore(trainer)
    advice = f"try a learning rate below {settings.learning_rate:g}"
    networks = [one.denoiser for one in (student, *guides)]
    with computing_in(settings.precision, networks), recomputing(settings.gradient_checkpointing, networks):
        train(trainer, objective, run, checkpoints, advice=advice, label=name, stream=name)
    trainer.export()
    return trainer.losses
