"""The time of a flow's training, before it begins: one step and one judgement are timed."""

from dataclasses import replace
from functools import partial

import torch

from intaglio.flow.training.data import FlowPictures
from intaglio.flow.training.drawn_samples import samples_plan
from intaglio.flow.training.settings import FlowTraining
from intaglio.flow.training.training import Batches, config_of, fresh_flow, judge, step_loss
from intaglio.learning.trainer import Trainer
from intaglio.runs.run import Run
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of


def training_plan(data: FlowPictures, settings: FlowTraining, *, samples: int = 0, device: str = "cpu") -> TimePlan:
    """Seconds of the steps, or the minutes that are asked for, of the judgements on held-out pictures and of samples.

    `samples` pictures are drawn at the end, 0 or more.
    """
    model = fresh_flow(config_of(settings, data), torch.Generator().manual_seed(settings.seed)).to(device)
    kept, aside = data.split(settings.held_out, settings.seed)
    objective = partial(step_loss, model, Batches(data, kept, settings, device), settings)
    trainer = Trainer(dict(model.named_parameters()), replace(settings, steps=max(2, settings.steps)))
    step_s = seconds_of(lambda: trainer.update(objective(0).value, trainer.gradient_norm()), device)
    parts = {f"{settings.steps} steps of {step_s:.2g} s": settings.steps * step_s}
    if settings.minutes is not None:
        parts = {"steps": 60 * settings.minutes}
    steps = settings.steps if settings.minutes is None else round(60 * settings.minutes / step_s)
    if len(aside):
        judged = seconds_of(lambda: judge(model, data, aside, settings, 0, Run.none()), device)
        parts["judgements"] = judged * (1 + (steps - 1) // settings.judge_every)
    if samples:
        parts["samples"] = samples_plan(model.eval(), samples).seconds
    numbers = sum(weight.numel() for weight in model.parameters())
    head = f"pictures   {len(kept)} to learn from, {len(aside)} held out\ntrainable  {numbers:,} numbers"
    return TimePlan(parts, head)
