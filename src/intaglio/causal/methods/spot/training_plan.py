"""The time of a skeleton posterior's training, before it begins: two small trainings are timed."""

import time
from collections.abc import Callable
from dataclasses import replace

from intaglio.causal.methods.spot.cascade_settings import CascadeTraining
from intaglio.causal.methods.spot.cascade_training import train_cascade
from intaglio.causal.methods.spot.network_calibration import calibrate_network
from intaglio.runs.time_plan import TimePlan

TIMED_MODELS = (12, 36)
"""Simulated models of the two trainings that are timed."""


def skeleton_plan(settings: CascadeTraining, network_models: int = 0) -> TimePlan:
    """Seconds of the cascade and, where it is asked for, of the network's calibration: linear in the models."""
    parts = {"cascade": seconds_at(settings.models, lambda models: train_cascade(replace(settings, models=models)))}
    if network_models:
        parts["network"] = seconds_at(
            network_models, lambda models: calibrate_network(replace(settings, models=models))
        )
    return TimePlan(parts, f"models     {settings.models:,} a stage; rough, from {TIMED_MODELS[1]} and fewer")


def seconds_at(models: int, training: Callable[[int], object]) -> float:
    """Seconds of a training with so many models, on the line through two small ones."""
    few, more = TIMED_MODELS
    short, longer = (_seconds(training, count) for count in (few, more))
    slope = max(0.0, (longer - short) / (more - few))
    return short + slope * max(0, models - few)


def _seconds(training: Callable[[int], object], models: int) -> float:
    began = time.perf_counter()
    training(models)
    return time.perf_counter() - began
