"""Estimates of energy for commands: the work of a drawing or a training, and a line for a plan."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, nn

    from intaglio.adapt.family import FineTuner
    from intaglio.energy.family import EnergyEstimator, Predictor
    from intaglio.energy.jobs import JobWork
    from intaglio.energy.machine_profile import MachineProfile
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


class EnergyLine(NamedTuple):
    """An estimate for a plan."""

    line: str
    """The estimate in one line, for people."""
    figures: dict[str, Any]
    """Its figures, for a run's record; empty where there is no estimate."""

    @property
    def summary(self) -> dict[str, Any]:
        """Its entry in the summary of a run; empty where there is no estimate."""
        return {"energy_estimate": self.figures} if self.figures else {}


def energy_line(device: str, work: "Callable[[], JobWork]", *, at_most: bool = False) -> EnergyLine | None:
    """The estimate of a job on a device, by its profile; None where there is no profile of it.

    A plan is no place to fail: where the profile cannot be read, or covers too little, the line says so.

    Args:
        device: that the job is to run on.
        work: the job's work, asked for only where there is a profile.
        at_most: whether the job may end before all of that work is done, which the line and the figures then say.
    """
    from intaglio.energy.energy_estimate import estimate
    from intaglio.energy.machine_profile import machine_profile
    from intaglio.errors import BadInput

    try:
        if (found := machine_profile(device)) is None:
            return None
        told = estimate(predictor_of(found), work())
    except BadInput as error:
        return EnergyLine(f"energy     no estimate: {error}", {})
    name = "energy    " if told.joules is not None else "processor "
    bound = "at most " if at_most else ""
    return EnergyLine(f"{name} {bound}{told.line}, by this machine's profile", told.figures() | {"at_most": at_most})


def predictor_of(found: "MachineProfile", method: "EnergyEstimator | None" = None) -> "Predictor":
    """A method's predictor, by default THOR's, with wider intervals where the profile is of another machine."""
    from intaglio.energy.methods.thor import Thor

    predict = (method or Thor())(found.profile)
    return lambda step: found.match.widened(predict(step))


Size = tuple[int, int] | None
"""Height and width of pictures in pixels; None for the model's own."""


def sample_work(
    model: "LatentDiffusion", pictures: int, steps: int, batch: int, *, guided: bool, size: Size = None
) -> "JobWork":
    """The work of a drawing in batches, with classifier-free guidance in one batch where it is guided."""
    from intaglio.energy import workloads
    from intaglio.energy.jobs import SampleJob

    job = SampleJob(
        pictures=pictures, steps=steps, batch=min(batch, pictures), guidance="batched" if guided else "none"
    )
    return job.work(
        denoiser=lambda at_once: workloads.denoiser_step(model, at_once, size=size),
        decoder=lambda at_once: workloads.decoder_step(model, at_once, size=size),
        prompts=lambda at_once: workloads.prompt_step(model, at_once),
    )


def training_work(
    model: "LatentDiffusion", updates: int, batch: int, rank: int | None = None, *, size: Size = None
) -> "JobWork":
    """The work of a training of the denoiser: of all its weights, or of a LoRA of this rank."""
    from intaglio.adapt.methods.dreambooth import DreamBooth
    from intaglio.adapt.methods.lora import LoRATuning

    return tuning_work(model, DreamBooth() if rank is None else LoRATuning(rank=rank), updates, batch, size=size)


def tuning_work(
    model: "LatentDiffusion", method: "FineTuner", updates: int, batch: int, accumulation: int = 1, *, size: Size = None
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
            step = workloads.denoiser_step(model, batch, size=size, train=True)
    job = TrainJob(micro_batch=batch, updates=updates, accumulation=accumulation)
    return job.work(step, workloads.update_step(weights))


def flow_work(name: str, updates: int, batch: int) -> "JobWork":
    """The work of a training of a flow, by its name or folder; an empty name is the first of the package."""
    from intaglio.energy import workloads
    from intaglio.energy.jobs import TrainJob
    from intaglio.models.flow.flow_folders import flow_names
    from intaglio.models.flow.shipped import open_flow

    flow = open_flow(name or flow_names()[0]).model.requires_grad_(True)
    job = TrainJob(micro_batch=batch, updates=updates)
    return job.work(workloads.flow_step(flow, batch), workloads.update_step(flow.parameters()))


def module_work(module: "nn.Module", inputs: "Sequence[Tensor]", calls: int, *, train: bool) -> "JobWork":
    """The work of so many calls of any module; with `train` each is a training step with an update by AdamW.

    Raises `BadInput` where the module's forward pass fails with these inputs, in the words of its error, and for a
    training of a module without a weight to train.
    """
    from intaglio.energy.jobs import JobWork, TrainJob
    from intaglio.energy.layers.parse import parse
    from intaglio.energy.workloads import update_step
    from intaglio.errors import BadInput

    trained = [weight for weight in module.parameters() if weight.requires_grad]
    if train and not trained:
        raise BadInput("no weight of the module wants a gradient, so that it cannot be trained; leave --train out")
    step = parse(module.train(train), *inputs, train=train)
    if not train:
        return JobWork({"calls": step.times(calls)}, {"calls": calls})
    return TrainJob(micro_batch=1, updates=calls).work(step, update_step(trained))
