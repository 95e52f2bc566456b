"""Agreement of a verdict's score with the loss differences: four corners, swapped models, few pictures."""

import math
from typing import Any

import numpy as np
import pytest

from intaglio.audit.membership.agreement import LOSS_ALONE, NO_SIGNAL, SCORE_ALONE, SWAPPED, agreement, shows_a_trace
from intaglio.audit.membership.verdict import Verdict, judge

LEVEL = np.linspace(-1.0, 1.0, 20)
"""Scores, and loss differences, of controls."""
HIGH, MIDDLE = np.linspace(2.0, 3.0, 10), np.linspace(-0.9, 0.9, 10)


def verdict(scores: Any, controls: Any = LEVEL) -> Verdict:
    names = [[f"{kind}{k}" for k in range(len(of))] for kind, of in (("q", scores), ("c", controls))]
    return judge(names[0], scores, names[1], controls, fpr=0.05)


@pytest.mark.parametrize(
    ("scores", "differences", "warnings", "no_signal"),
    [
        (HIGH, HIGH, (), None),
        (HIGH, MIDDLE, (SCORE_ALONE,), None),
        (MIDDLE, HIGH, (LOSS_ALONE,), None),
        (MIDDLE, MIDDLE, (), NO_SIGNAL),
        (HIGH, -HIGH, (SWAPPED,), None),
    ],
)
def test_two_signals_agree_or_the_person_is_told(scores, differences, warnings, no_signal):
    found = agreement(verdict(scores), differences, LEVEL)
    assert (found.warnings, found.no_signal) == (warnings, no_signal)


def test_pictures_that_are_called_are_never_without_signal():
    # six of ten far above every control, four at the level: what a set of paintings by one hand gave
    scores = np.concatenate([HIGH[:6], MIDDLE[:4]])
    found = agreement(verdict(scores), MIDDLE, LEVEL)
    assert sum(bool(row.called) for row in verdict(scores).rows) == 6
    assert (found.warnings, found.no_signal) == ((SCORE_ALONE,), None)


def test_a_verdict_that_rests_on_the_loss_differences_cannot_disagree_with_them():
    generator = np.random.default_rng(0)
    for _ in range(200):
        tested, known = generator.normal(generator.uniform(0, 1), 1, 10), generator.normal(0, 1, 20)
        found = agreement(verdict(tested, known), tested, known)
        assert LOSS_ALONE not in found.warnings
        if SCORE_ALONE in found.warnings:  # only by the calls, which the rank test of the whole set can miss
            assert sum(bool(row.called) for row in verdict(tested, known).rows) >= 3


def test_chance_calls_are_no_trace():
    # one call of ten at a rate of 0.05: P(at least 1) = 1 - 0.95^10 = 0.40; three: 0.0115
    one, three = (np.concatenate([HIGH[:k], np.linspace(-1.1, -0.5, 10 - k)]) for k in (1, 3))
    assert not shows_a_trace(verdict(one))
    assert shows_a_trace(verdict(three))


def test_few_or_failed_pictures_say_nothing():
    assert (
        agreement(verdict(MIDDLE), [], LEVEL)
        == agreement(verdict(MIDDLE), [math.nan], [])
        == agreement(verdict(MIDDLE[:2]), MIDDLE[:2], LEVEL)
    )
    assert agreement(verdict(MIDDLE[:2]), MIDDLE[:2], LEVEL).no_signal is None


def test_without_controls_loss_differences_are_compared_with_zero():
    generator = np.random.default_rng(0)
    assert agreement(verdict(MIDDLE, []), generator.normal(-0.05, 0.01, 10), []).warnings == (SWAPPED,)
    assert agreement(verdict(MIDDLE, []), generator.normal(0.05, 0.01, 10), []).no_signal is None
    assert agreement(verdict(MIDDLE, []), generator.normal(0.0, 0.01, 10), []).no_signal == NO_SIGNAL
