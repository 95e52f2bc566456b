from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from intaglio.learning.step_randomness import batch_at, dropped_at, noise_at, timesteps_at


@given(
    repeats=st.lists(st.integers(1, 3), min_size=1, max_size=5),
    batch=st.integers(1, 9),
    epochs=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_every_epoch_shows_each_entry_once(repeats, batch, epochs, seed):
    order = [index for index, times in enumerate(repeats) for _ in range(times)]
    total = epochs * len(order)
    seen = [index for step in range(-(-total // batch)) for index in batch_at(order, step, batch, seed, "x")]
    for epoch in range(epochs):
        assert Counter(seen[epoch * len(order) : (epoch + 1) * len(order)]) == Counter(order)


def test_batches_are_the_same_pictures_whatever_the_batch_size():
    order = list(range(7))
    ones = [batch_at(order, step, 1, 3, "x")[0] for step in range(24)]
    sixes = [index for step in range(4) for index in batch_at(order, step, 6, 3, "x")]
    assert ones == sixes
    assert ones[:7] != ones[7:14]


def test_a_draw_depends_on_seed_and_step_alone():
    torch.manual_seed(1)
    first = noise_at((2, 3), 5, 0), timesteps_at(4, 1000, 5, 0)
    torch.manual_seed(2)
    again = noise_at((2, 3), 5, 0), timesteps_at(4, 1000, 5, 0)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], noise_at((2, 3), 6, 0))
    assert not torch.equal(first[0], noise_at((2, 3), 5, 1))


def test_timesteps_cover_the_schedule_uniformly():
    drawn = torch.cat([timesteps_at(100, 10, step, 0) for step in range(100)])
    shares = torch.bincount(drawn, minlength=10) / len(drawn)
    assert shares.tolist() == pytest.approx([0.1] * 10, abs=0.015)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_captions_are_dropped_at_the_asked_rate(probability):
    drawn = torch.cat([dropped_at(100, probability, step, 0) for step in range(50)])
    assert float(drawn.float().mean()) == pytest.approx(probability, abs=0.02)
