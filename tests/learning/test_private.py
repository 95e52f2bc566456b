"""Private steps against their definition: what a record can move, how much noise there is, who is drawn."""

import pytest
import torch
from scipy.stats import chi2

from intaglio.learning.private import known_key, new_key, poisson_batch, private_gradient

WEIGHTS = {"a": torch.zeros(30, 50), "b": torch.zeros(500)}


def gradient(rows, sigma=0.0, step=0, key=None, expected=1.0):
    return private_gradient(
        rows, WEIGHTS, bound=2.0, sigma=sigma, expected=expected, step=step, key=known_key(1) if key is None else key
    )


def flat(found):
    return torch.cat([part.flatten() for part in found.values()])


def record(scale):
    random = torch.Generator().manual_seed(round(scale * 10))
    return {name: scale * torch.randn(1, *weight.shape, generator=random) for name, weight in WEIGHTS.items()}


def test_one_record_moves_the_sum_by_its_clipped_gradient():
    few, many = [record(0.01), record(3.0)], [record(0.01), record(3.0), record(50.0)]
    apart = flat(gradient(many, sigma=1.0)) - flat(gradient(few, sigma=1.0))
    own = flat({name: row[0] for name, row in record(50.0).items()})
    torch.testing.assert_close(apart, 2.0 * own / own.norm(), atol=1e-5, rtol=0)
    small = flat({name: row[0] for name, row in record(0.01).items()})
    torch.testing.assert_close(flat(gradient(few[:1])), small)


def test_the_noise_has_its_variance_and_is_another_at_each_step_and_tensor():
    noise = flat(gradient([], sigma=3.0, expected=4.0))
    statistic = float((noise / (3.0 * 2.0 / 4.0)).square().sum())
    assert chi2.ppf(1e-4, len(noise)) < statistic < chi2.ppf(1 - 1e-4, len(noise))
    assert torch.equal(noise, flat(gradient([], sigma=3.0, expected=4.0)))
    others = (gradient([], sigma=3.0, step=1), gradient([], sigma=3.0, key=new_key()))
    for other in (noise[1500:], *(flat(found)[:500] for found in others)):
        assert abs(float(torch.corrcoef(torch.stack([noise[:500], other]))[0, 1])) < 0.2


def test_records_are_drawn_each_by_itself():
    drawn = torch.zeros(400, 10)
    for step in range(400):
        drawn[step, poisson_batch(10, 0.3, step, known_key(5))] = 1
    sizes = drawn.sum(1)
    assert abs(float(drawn.mean()) - 0.3) < 4 * (0.21 / 4000) ** 0.5
    assert float(sizes.var()) == pytest.approx(10 * 0.21, rel=0.3), "a shuffled batch would have one size"
    assert bool((drawn.mean(0) > 0.2).all())
    assert poisson_batch(10, 1.0, 0, known_key(5)) == list(range(10))
    assert not torch.equal(new_key(), new_key())
