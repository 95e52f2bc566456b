"""The work of an extraction, for an estimate of its energy before the first picture."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intaglio.energy.jobs import JobWork
    from intaglio.energy.layers.layer import Step
    from intaglio.extract.family import Extractor
    from intaglio.extract.inputs import ExtractionInputs


def extraction_work(method: "Extractor", inputs: "ExtractionInputs", *, controlled: bool) -> "JobWork":
    """The work of all pictures that an extraction may draw: it may stop earlier, so this is an upper bound.

    Each batch reads its prompts, takes the sampler's steps under the method's guide, is decoded and given to the
    encoder; `controlled` draws as many pictures from the base.
    """
    from intaglio.energy.jobs import joined

    suspect = _drawn(method, inputs)
    if not controlled:
        return suspect
    return joined(suspect, _drawn(method, inputs.of_base()))


def _drawn(method: "Extractor", inputs: "ExtractionInputs") -> "JobWork":
    from intaglio.energy import workloads
    from intaglio.energy.jobs import SampleJob, joined
    from intaglio.energy.layers.parse import seen

    model = inputs.suspect
    # Heun's method predicts twice at each step but the last.
    calls = 2 * method.steps - 1 if method.sampler == "heun" else method.steps
    job = SampleJob(
        pictures=method.generations,
        steps=method.steps,
        calls=calls,
        batch=min(method.batch, method.generations),
        guidance="none",  # the step under the guide has its branches
    )
    guide = method.guide(inputs.base, prompted=inputs.prompted)

    def compared(count: int) -> "Step":
        """One call of the encoder; nothing is known of one that torch's functions do not show, such as TorchScript."""
        import torch

        side = model.resolution
        return seen(lambda: inputs.similarity.embed(torch.full((count, 3, side, side), 0.5)))

    drawn = job.work(
        denoiser=lambda at_once: workloads.guided_step(model, guide, at_once),
        decoder=lambda at_once: workloads.decoder_step(model, at_once),
        prompts=lambda at_once: workloads.prompt_step(model, at_once),
    )
    return joined(drawn, job.once_a_batch("similarity", compared))
