"""The time of explained series, before they are."""

import time

import torch

from intaglio.explain.series.family import SeriesExplainer
from intaglio.explain.series.labelled_series import LabelledSeries
from intaglio.explain.series.taught_series import SeriesLessons, new_network
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.plan import picture_calls, planned_seconds

MOST_ROWS = 256
"""Series of the pass that is timed, at most."""


def series_plan(method: SeriesExplainer, series: LabelledSeries) -> TimePlan:
    """Seconds of the training, of the importances and of the checks, by a step and a pass that are timed."""
    learnt, held = method.parts(series)
    lessons = SeriesLessons.of(series.values[learnt], series.codes[learnt], len(series.classes))
    network = new_network(lessons, method.pace)
    some = lessons.values[:MOST_ROWS]
    began = time.perf_counter()
    network(some).logits.sum().backward()
    step = (time.perf_counter() - began) / len(some)
    began = time.perf_counter()
    with torch.no_grad():
        network(some)
    row = (time.perf_counter() - began) / len(some)
    shapes = f"{series.values.shape[1]} times of {series.values.shape[2]} channels"
    parts = {
        "classifier": step * method.updates * min(method.rows, len(learnt)),
        "importances": method.seconds(len(learnt), len(held), series.values[0].numel(), step, row),
        "checks": row * len(held) * (series.values.shape[1] + 22 * method.draws),
    }
    return TimePlan(parts, f"series     {len(series):,} in {len(series.classes)} classes, {shapes}")


def walks_plan(model: LatentDiffusion, drawings: int, steps: int, guidance: float, batch: int) -> TimePlan:
    """Seconds of all drawings, by one call of the denoiser that is timed; what follows is short and is not counted."""
    each = picture_calls(model, steps, guidance)
    seconds = planned_seconds(each.times(drawings), model, batch)
    head = f"drawings   {drawings}: {drawings * each.forward:,} calls of the denoiser"
    return TimePlan({"drawings": seconds}, head)
