"""The rule for the corruption stage, on the published curves (arXiv 2405.19931, figure 1) and on made-up ones."""

import numpy as np
import pytest

from intaglio.adapt.corruption import Judgement, Stage, best, copies, dip, mean_error, stages

STEPS = (0, 100, 150, 250, 450, 1000, 2000, 3000, 5000)
BASELINE = (0.36, 0.73, 0.65, 0.90, 0.57, 0.39, 0.62, 0.75, 0.96)
BAYESIAN = (0.36, 0.71, 0.58, 0.80, 0.95, 0.96, 0.97, 0.97, 0.97)
"""Likeness to the one training picture, read off the figure."""
NOISY = (450, 2050)
"""Where the authors mark the stage."""


def judged(step, fidelity, quality=0.9, fidelity_error=0.01, quality_error=0.005, diversity=0.5):
    return Judgement(int(step), float(fidelity), fidelity_error, float(quality), quality_error, diversity)


def published(values, every, quality, seed=0):
    rng = np.random.default_rng(seed)
    steps = range(0, 5001, every)
    likeness = np.interp(steps, STEPS, values) + rng.normal(0, 0.01, len(steps))
    return [
        judged(step, value, quality(step) + rng.normal(0, 0.005)) for step, value in zip(steps, likeness, strict=True)
    ]


def noisy(step):
    """Quality that fades over 100 steps at both ends of the marked stage."""
    return np.interp(step, (NOISY[0] - 50, NOISY[0] + 50, NOISY[1] - 50, NOISY[1] + 50), (0.9, 0.8, 0.8, 0.9))


@pytest.mark.parametrize("every", [25, 50, 100])
@pytest.mark.parametrize("seed", range(5))
def test_the_published_baseline_is_found_once_between_300_and_700_steps(every, seed):
    (stage,) = stages(published(BASELINE, every, noisy, seed))
    assert 300 <= stage.detected <= 700
    assert 250 < stage.first <= stage.detected
    assert stage.last >= 1900


@pytest.mark.parametrize("every", [25, 50, 100])
@pytest.mark.parametrize("seed", range(5))
def test_the_published_bayesian_curve_is_never_called_corrupted(every, seed):
    assert stages(published(BAYESIAN, every, lambda step: 0.9, seed)) == []


def test_likeness_alone_or_noise_alone_is_not_corruption():
    assert stages(published(BASELINE, 100, lambda step: 0.9)) == []
    assert stages(published(BAYESIAN, 100, noisy)) == []


def test_a_fall_must_last():
    values = [0.2, 0.6, 0.8, 0.8, 0.6, 0.8, 0.6, 0.8]
    assert stages([judged(100 * k, v, v) for k, v in enumerate(values)]) == []
    values = [0.2, 0.6, 0.8, 0.8, 0.6, 0.6, 0.8, 0.8]
    assert stages([judged(100 * k, v, v) for k, v in enumerate(values)]) == [Stage(400, 500, 500)]


def test_the_first_judgements_set_no_mark():
    """A model that only begins to turn to its pictures may do so by way of a worse one."""
    values = [0.2, 0.8, 0.6, 0.6, 0.7, 0.8]
    assert stages([judged(100 * k, v, v) for k, v in enumerate(values)]) == []
    assert len(stages([judged(100 * k, v, v) for k, v in enumerate([0.2, *values])])) == 1


def test_a_fall_must_exceed_three_errors():
    values = [0.2, 0.6, 0.8, 0.8, 0.6, 0.6, 0.8, 0.8]
    for error, found in ((0.05, 1), (0.08, 0)):
        assert len(stages([judged(100 * k, v, v, error) for k, v in enumerate(values)])) == found
        assert len(stages([judged(100 * k, v, v, 0.01, error) for k, v in enumerate(values)])) == found


def test_what_was_found_stays_as_the_curve_goes_on():
    curve = published(BASELINE, 100, noisy)
    began = [stages(curve[:end]) for end in range(len(curve) + 1)]
    firsts = [found[0].first for found in began if found]
    assert len(set(firsts)) == 1
    assert len(firsts) > 10


def test_the_best_step_is_the_earliest_that_no_later_one_clearly_beats():
    curve = [judged(k, v) for k, v in enumerate((0.99, 0.5, 0.7, 0.71, 0.6, 0.73, 0.2))]
    assert best(curve).step == 5
    assert best(curve[:5]).step == 2
    assert best(curve[:1]) is None, "the base itself is no fine-tune"


def test_near_copies_are_alike_their_pictures_and_each_other():
    first = judged(0, 0.3, diversity=0.8)
    assert copies([first, judged(1, 0.96, diversity=0.3)])
    assert not copies([first, judged(1, 0.96, diversity=0.5)])
    assert not copies([first, judged(1, 0.9, diversity=0.3)])
    assert not copies([])


def test_the_depth_and_the_length_of_a_dip():
    found = dip([0, 10, 20, 30, 40], [0.1, 0.8, 0.5, 0.74, 0.9])
    assert (found.depth, found.length, found.step) == (pytest.approx(0.3), pytest.approx(0.4), 20)
    assert found.lasting == pytest.approx(0.06)
    assert dip([0, 10], [0.1, 0.2]).depth == 0
    assert dip([0], [0.1]).lasting == 0
    assert dip([0, 10, 20, 30], [0.8, 0.5, 0.4, 0.9]).lasting == pytest.approx(0.3)


def test_the_standard_error_of_a_mean_is_about_the_textbooks():
    values = np.random.default_rng(3).normal(size=40)
    assert mean_error(values.tolist()) == pytest.approx(values.std() / 40**0.5, rel=0.15)
    assert mean_error(values.tolist()) == mean_error(values.tolist())
    assert mean_error([0.5] * 8) == pytest.approx(0)
