import math

import pytest

from intaglio.adapt.settings import Training, Watch


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
@pytest.mark.parametrize("warmup", [0, 4])
def test_rates_follow_the_schedule(schedule, warmup):
    settings = Training(steps=20, warmup=warmup, learning_rate=0.5, schedule=schedule)
    for step in range(20):
        done = (step - warmup) / (20 - warmup)
        after = {"constant": 1, "linear": 1 - done, "cosine": math.cos(math.pi * done / 2) ** 2}[schedule]
        expected = (step + 1) / warmup if step < warmup else after
        assert settings.rate(step) == pytest.approx(0.5 * expected)


def test_a_warm_up_of_all_steps_ends_at_the_highest_rate():
    settings = Training(steps=5, warmup=5, learning_rate=1.0, schedule="cosine")
    assert [settings.rate(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(
    "wrong", [{"checkpoint_every_s": -1.0}, {"checkpoint_every": -1}, {"sample_count": -1}, {"sample_steps": 0}]
)
def test_wrong_watching_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Watch(**wrong)


def test_class_pictures_double_a_step_unless_they_weigh_nothing():
    assert Training(batch=3).step_size(prior=True) == 6
    assert Training(batch=3).step_size(prior=False) == 3
    assert Training(batch=3, prior_weight=0.0).step_size(prior=True) == 3
