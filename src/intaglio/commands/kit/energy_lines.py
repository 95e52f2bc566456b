"""Estimates of energy for commands: the work of a drawing or a training, and a line for a plan."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intaglio.adapt.family import FineTuner
    from intaglio.energy.family import EnergyEstimator, Predictor
    from intaglio.energy.jobs import JobWork
    from intaglio.energy.machine_profile import MachineProfile
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def predictor_of(found: "MachineProfile", method: "EnergyEstimator | None" = None) -> "Predictor":
    """A method's predictor, by default THOR's, with wider intervals where the profile is of another machine."""
    from intaglio.energy.methods.thor import Thor

    predict = (method or Thor())(found.profile)
    return lambda step: found.match.widened(predict(step))


def sample_work(model: "LatentDiffusion", pictures: int, steps: int, batch: int, *, guided: bool) -> "JobWork":
    """The work of a drawing in batches, with classifier-free guidance in one batch where it is guided."""
    from intaglio.energy import workloads
    from intaglio.energy.jobs import SampleJob

    job = SampleJob(
        pictures=pictures, steps=steps, batch=min(batch, pictures), guidance="batched" if guided else "none"
    )
    return job.work(
        denoiser=lambda at_once: workloads.denoiser_step(model, at_once),
        decoder=lambda at_once: workloads.decoder_step(model, at_once),
        prompts=lambda at_once: workloads.prompt_step(model, at_once),
    )


def training_work(model: "LatentDiffusion", updates: int, batch: int, rank: int | None = None) -> "JobWork":
    """The work of a training of the denoiser: of all its weights, or of a LoRA of this rank."""
    from intaglio.adapt.methods.dreambooth import DreamBooth
    from intaglio.adapt.methods.lora import LoRATuning

    return tuning_work(model, DreamBooth() if rank is None else LoRATuning(rank=rank), updates, batch)


def tuning_work(
    model: "LatentDiffusion", method: "FineTuner", updates: int, batch: int, accumulation: int = 1
) -> "JobWork":
    """The work of so many updates by a method, each of so many passes of a batch; the model is left as found."""
    from intaglio.energy import workloads
    from intaglio.energy.jobs import TrainJob

    with model.frozen():
        trainable = method.trainable(model)
        weights = list(trainable.weights.values())
        for weight in weights:
            weight.requires_grad_(True)
        with trainable.attached(model):
            step = workloads.denoiser_step(model, batch, train=True)
    job = TrainJob(micro_batch=batch, updates=updates, accumulation=accumulation)
    return job.work(step, workloads.update_step(weights))
