"""The time of a skeleton posterior's training, before it begins: a small training and some tables are timed."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from intaglio.causal.methods.spot.cascade_settings import CascadeTraining
from intaglio.causal.methods.spot.cascade_training import simulated_tables, train_cascade
from intaglio.causal.methods.spot.network_calibration import calibrate_network
from intaglio.runs.time_plan import TimePlan

TIMED_MODELS = 40
"""Simulated models of the training that is timed; trees of more of them take hardly longer."""
TIMED_TABLES = 12
"""Tables that are timed alone."""
PASSES = 7
"""Times that a training draws its tables: two for trees, four for calibrations and their figures, one for ranges."""


def plans_quickly(settings: CascadeTraining) -> bool:
    """Whether what is timed for a plan is at most a fiftieth of the training."""
    return settings.models >= 50 * TIMED_MODELS


def skeleton_plan(settings: CascadeTraining, network_models: int = 0) -> TimePlan:
    """Seconds of the cascade and, where it is asked for, of the network's calibration."""
    small = min(TIMED_MODELS, settings.models)
    began = time.perf_counter()
    tables = len(list(islice(simulated_tables(settings, "first"), TIMED_TABLES)))
    one = (time.perf_counter() - began) / tables
    trained = _seconds(lambda: train_cascade(replace(settings, models=small)))
    parts = {"cascade": trained + PASSES * one * (settings.models - small)}
    if network_models:
        few = min(TIMED_TABLES, network_models)
        calibrated = _seconds(lambda: calibrate_network(replace(settings, models=few)))
        parts["network"] = calibrated * network_models / few
    return TimePlan(parts, f"models     {settings.models:,} a stage; rough, from a training of {small}")


def _seconds(training: Callable[[], object]) -> float:
    began = time.perf_counter()
    training()
    return time.perf_counter() - began
