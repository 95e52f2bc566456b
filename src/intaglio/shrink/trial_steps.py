"""The time of a method that learns, from a few steps of its whole work on made-up rows."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.trial_run import TrialRun
from intaglio.shrink.calibration_states import HELD, made_up_rows
from intaglio.shrink.family import Shrinker

TRIED_STEPS = 4
"""Steps of each phase that are made, of which the first is not timed."""


def trial_rows(batch: int) -> int:
    """Calibration rows of a trial: of two whole turns of walks at least, so that a batch is learned from."""
    return HELD * max(2, -(-batch // (HELD - 1)))


def trial_seconds(
    shrinker: Shrinker, model: LatentDiffusion, batch: int, phases: Mapping[str, str], **cheaper: Any
) -> float:
    """Seconds of all phases, and of whatever is done once.

    Args:
        shrinker: with its settings.
        model: left as it was found.
        batch: rows of a step, 1 or more.
        phases: names of the settings that count steps, by the labels of their progress.
        cheaper: further settings of the trial, of work that is counted apart.
    """
    tried = {setting: min(TRIED_STEPS, getattr(shrinker, setting)) for setting in phases.values()}
    run, began = TrialRun(), time.perf_counter()
    replace(shrinker, **tried, **cheaper)(model, made_up_rows(model, trial_rows(batch)), run=run)
    spent = time.perf_counter() - began
    left = {label: getattr(shrinker, setting) - tried[setting] for label, setting in phases.items()}
    return spent + sum(left[label] * run.step_seconds(label, tried[setting]) for label, setting in phases.items())
