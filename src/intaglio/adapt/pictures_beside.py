"""Seconds that a fine-tune spends beside its steps: on judged, sampled and class pictures."""

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.grids import sample_scale
from intaglio.adapt.probes import NOISES, TIMESTEPS
from intaglio.adapt.settings import Training, Watch
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import picture_calls, planned_seconds

PROBE_ROWS = 2 * NOISES + 1 + TIMESTEPS
"""Rows of a denoiser that the probes of one judgement take."""


def seconds_beside(
    model: LatentDiffusion, data: TrainingSet, settings: Training, watch: Watch, *, class_pictures: int = 0
) -> dict[str, float]:
    """Seconds by what is drawn, from a call of the denoiser and a decoding that are timed here.

    Args:
        model: the base; pictures of the tuned one take as long.
        data: the training set.
        settings: of the training.
        watch: of what is judged and sampled.
        class_pictures: that are still to be drawn, 0 or more.
    """
    scale = sample_scale(model, watch)
    judgements = judgement_count(watch.interval(data.distinct, settings.steps), settings.steps)
    sampled = watch.sample_count * max(1, len(watch.sample_prompt))
    grids = 2 + settings.steps // watch.sample_every if watch.sample_every else 2
    judged = picture_calls(model, watch.watch_steps, scale).times(watch.watch_count) + Calls(forward=PROBE_ROWS)
    work = {
        "judged pictures": (judged.times(judgements), watch.watch_count),
        "sampled pictures": (picture_calls(model, watch.sample_steps, scale).times(sampled * grids), sampled),
        "class pictures": (picture_calls(model).times(class_pictures), min(class_pictures, 8)),
    }
    return {name: planned_seconds(calls, model, rows) for name, (calls, rows) in work.items() if calls.forward}


def judgement_count(every: int, steps: int) -> int:
    """Judgements of a training: of the base, at every interval, and at the last step; 0 where `every` is."""
    return 1 + steps // every + (steps % every > 0) if every else 0
