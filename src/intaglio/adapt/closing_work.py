"""The work of a fine-tune after its last step, in steps of training: sample pictures, a judgement, saved weights."""

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.settings import Training, Watch

FORWARD_SHARE = 0.5
"""A call of the denoiser for a picture, over forward and backward pass of it: a third where all weights learn, up to a
half where few do."""
DECODER_CALLS = 4.0
"""Calls of the denoiser that decoding a picture is taken for; a rough figure, for reserves alone."""
SAVING_STEPS = 1.0
"""Steps of training that saving state and weights is taken for."""


def closing_steps(settings: Training, watch: Watch, data: TrainingSet) -> float:
    """Work after the last step over that of a step.

    A picture is sampler steps, twice with guidance or where no scale is named, and a decoding; a step of training is
    its pictures, forward and backward. Rough, and meant as a reserve.
    """
    drawn = watch.sample_count * max(1, len(watch.sample_prompt))
    calls = drawn * _calls(watch.sample_steps, watch.sample_guidance)
    if watch.interval(data.distinct, settings.steps):
        calls += watch.watch_count * _calls(watch.watch_steps, watch.sample_guidance)
    pictures = settings.step_size(data.class_images is not None)
    return SAVING_STEPS + FORWARD_SHARE * calls / pictures


def _calls(steps: int, guidance: float | None) -> float:
    return steps * (1 if guidance == 1 else 2) + DECODER_CALLS
