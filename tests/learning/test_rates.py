from math import cos, pi

import pytest

from intaglio.learning.rates import warmed_cosine


def test_a_rate_rises_in_a_line_and_falls_along_half_a_cosine():
    rates = [warmed_cosine(k, 100, warmup=4, peak=2.0, final=0.5) for k in range(100)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4] == 2.0
    assert rates[52] == pytest.approx(1.25)  # half way down
    assert rates[99] == pytest.approx(0.5 + 1.5 * 0.5 * (1 + cos(pi * 95 / 96)))
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_a_short_training_warms_up_for_a_tenth_of_its_steps():
    assert warmed_cosine(0, 20, warmup=500, peak=1.0, final=0.0) == 0.5
    assert warmed_cosine(0, 9, warmup=500, peak=1.0, final=0.0) == 1.0
