"""Work after the last step of a fine-tune, by hand."""

import pytest

from adapt_scenes import training_set
from intaglio.adapt.closing_work import closing_steps
from intaglio.adapt.settings import Training, Watch

SETTINGS = Training(steps=100, batch=2)


@pytest.mark.parametrize(
    ("watch", "steps"),
    [
        # Nothing but saving: one step.
        (Watch(sample_count=0), 1.0),
        # 3 pictures of 10 steps with guidance and a decoding: 3 * (20 + 4) calls, half a picture's step each, by twos.
        (Watch(sample_count=3, sample_steps=10), 1 + 0.5 * 72 / 2),
        (Watch(sample_count=3, sample_steps=10, sample_guidance=1.0), 1 + 0.5 * 42 / 2),
        (Watch(sample_count=3, sample_steps=10, sample_prompt=("a", "b")), 1 + 0.5 * 144 / 2),
        # 5 judged pictures of 6 steps: 5 * (12 + 4).
        (Watch(sample_count=0, watch_every=10, watch_count=5, watch_steps=6), 1 + 0.5 * 80 / 2),
    ],
)
def test_pictures_and_judgements_are_counted_in_steps(watch, steps):
    assert closing_steps(SETTINGS, watch, training_set(3)) == pytest.approx(steps)


def test_class_pictures_make_a_step_larger_and_the_rest_smaller():
    watch = Watch(sample_count=3, sample_steps=10)
    assert closing_steps(SETTINGS, watch, training_set(3, 2)) == pytest.approx(1 + 0.5 * 72 / 4)
