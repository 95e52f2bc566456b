from itertools import combinations, permutations

import numpy as np
import pytest
import torch

from intaglio.causal.methods.sicl.networks import pair_statistics
from intaglio.causal.methods.sicl.networks.encoding import BINARY, CONTINUOUS, NOMINAL, ORDINAL, encode


def table(rows=300, columns=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, columns))
    for j in range(1, columns):
        x[:, j] += x[:, :j] @ rng.uniform(-1, 1, j)
    return (x - x.mean(0)) / x.std(0)


def tensor(x):
    return torch.from_numpy(x)[None]


def everything_known(x):
    return torch.ones(1, *x.shape, dtype=torch.bool)


def residual_correlation(x, i, j, given):
    """Of what is left of two columns after least squares on others."""
    left = []
    for k in (i, j):
        a = x[:, list(given)]
        left.append(x[:, k] - a @ np.linalg.lstsq(a, x[:, k], rcond=None)[0] if len(given) else x[:, k])
    return np.corrcoef(*left)[0, 1]


def test_correlation_is_that_of_numpy_and_of_the_rows_that_know_both():
    x = table()
    found = pair_statistics.correlation(tensor(x), pair_statistics.rows_in_common(everything_known(x)))
    assert np.allclose(found[0], np.corrcoef(x.T), atol=1e-9)
    known = np.random.default_rng(1).random(x.shape) > 0.2
    counts = pair_statistics.rows_in_common(torch.from_numpy(known)[None])
    for i, j in combinations(range(5), 2):
        assert counts[0, i, j] == (known[:, i] & known[:, j]).sum()


def test_correlations_of_few_common_rows_are_made_definite():
    x = table(rows=12, columns=6)
    known = np.random.default_rng(3).random(x.shape) > 0.5
    filled = torch.from_numpy(np.where(known, x, 0.0))[None]
    found = pair_statistics.correlation(filled, pair_statistics.rows_in_common(torch.from_numpy(known)[None]))
    assert torch.linalg.eigvalsh(found)[0, 0] > 0
    assert torch.allclose(found.diagonal(dim1=1, dim2=2), torch.ones(1, 6, dtype=found.dtype), atol=1e-5)


def test_full_partial_correlation_is_that_of_residuals_where_rows_are_many():
    x = table(rows=20_000)
    counts = pair_statistics.rows_in_common(everything_known(x))
    found = pair_statistics.partial(pair_statistics.correlation(tensor(x), counts), counts)[0]
    for i, j in combinations(range(5), 2):
        rest = [k for k in range(5) if k not in (i, j)]
        assert found[i, j].item() == pytest.approx(residual_correlation(x, i, j, rest), abs=5e-3)


def test_greedy_separation_is_the_same_as_trying_each_column_by_least_squares():
    x = table(columns=6, seed=4)
    counts = pair_statistics.rows_in_common(everything_known(x))
    root = counts.sqrt()
    matrix = pair_statistics.correlation(tensor(x), counts)
    found = pair_statistics.greedy_separation(matrix, root.to(matrix.dtype))
    for i, j in permutations(range(6), 2):
        taken, least = [], abs(residual_correlation(x, i, j, []))
        for step in range(3):
            left = [k for k in range(6) if k not in (i, j, *taken)]
            values = {k: abs(residual_correlation(x, i, j, [*taken, k])) for k in left}
            best = min(values, key=values.get)
            if step < 2:
                for k, value in values.items():
                    told = torch.expm1(found.given[0, i, j, k, step]).item() / root[0, i, j].item()
                    assert np.tanh(told) == pytest.approx(value, abs=1e-6)
            assert found.chosen[0, i, j, :, step].argmax().item() == best
            taken.append(best)
            least = min(least, values[best])
        assert found.least[0, i, j].item() == pytest.approx(least, abs=1e-6)


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_separation_of_few_columns(columns):
    x = table(columns=columns)
    counts = pair_statistics.rows_in_common(everything_known(x))
    matrix = pair_statistics.correlation(tensor(x), counts)
    found = pair_statistics.greedy_separation(matrix, counts.sqrt().to(matrix.dtype))
    assert found.evidence.shape == (1, columns, columns, 3)
    assert found.chosen.sum((0, 3)).le(min(3, columns - 2) if columns > 2 else 0).all()
    assert all(bool(value.isfinite().all()) for value in found)


def encoded(values, kinds):
    return encode(torch.from_numpy(np.asarray(values, np.float64))[None], torch.tensor(kinds)[None])


def test_association_of_levels_is_pearsons_chi_square():
    rng = np.random.default_rng(0)
    a = rng.integers(3, size=800)
    b = np.where(rng.random(800) < 0.3, a, rng.integers(4, size=800))
    counts = np.histogram2d(a, b, bins=(3, 4))[0]
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / counts.sum()
    chi_square = ((counts - expected) ** 2 / expected).sum()
    excess = (chi_square - 12) / np.sqrt(24)  # against as many as there are dummies: 3 times 4
    told = encoded(np.stack([a, b], 1), [NOMINAL, NOMINAL]).pairs[0, 0, 1, 13].item()
    # Dummies are made orthonormal with a ridge of a thousandth.
    assert np.sign(told) * np.expm1(abs(told)) == pytest.approx(excess, rel=0.02)


def test_association_sees_what_correlation_does_not():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(500)
    y = x**2 + 0.3 * rng.standard_normal(500)
    pairs = encoded(np.stack([x, y, rng.standard_normal(500)], 1), [CONTINUOUS] * 3).pairs[0]
    assert pairs[0, 1, 13] > 3 * pairs[0, 1, 0]
    assert abs(pairs[0, 2, 13]) < 1.5


def test_association_given_a_common_cause_goes():
    rng = np.random.default_rng(1)
    z = rng.integers(2, size=2000)
    a, b = ((rng.random(2000) < 0.2 + 0.6 * z).astype(int) for _ in range(2))
    found = encoded(np.stack([a, b, z], 1), [BINARY] * 3)
    assert found.pairs[0, 0, 1, 13] > 3
    assert found.triples[0, 0, 1, 2, 5] < 1


def test_maps_are_zero_where_columns_coincide_and_finite_everywhere():
    rng = np.random.default_rng(2)
    x = np.stack(
        [rng.standard_normal(40), rng.integers(5, size=40), np.r_[np.ones(39), 0], rng.integers(2, size=40)], 1
    )
    x[rng.random(x.shape) < 0.2] = np.nan
    found = encoded(x, [CONTINUOUS, ORDINAL, CONTINUOUS, BINARY])
    for values in (found.pairs, found.triples, found.cells):
        assert bool(values.isfinite().all())
    assert not found.pairs[0, range(4), range(4)].any()
    for i, k in permutations(range(4), 2):
        for place in ((i, i, k), (i, k, i), (k, i, i)):
            assert not found.triples[0][place].any()


def test_maps_of_pairs_are_symmetric_but_for_the_two_moments():
    found = encoded(table(), [CONTINUOUS] * 5).pairs[0]
    assert torch.allclose(found[..., :16], found[..., :16].transpose(0, 1), atol=1e-5)
    assert torch.equal(found[..., 16], found[..., 17].T)
    triples = encoded(table(), [CONTINUOUS] * 5).triples[0]
    assert torch.allclose(triples, triples.transpose(0, 1), atol=1e-5)


def test_the_moment_is_that_of_the_first_squared_with_the_second():
    x = np.random.default_rng(0).exponential(size=(200, 3))
    z = (x - x.mean(0)) / x.std(0)
    found = encoded(x, [CONTINUOUS] * 3).pairs[0, ..., 16]
    wanted = np.log1p(np.sqrt(200) * abs((np.clip(z, -8, 8)[:, 0] ** 2 * np.clip(z, -8, 8)[:, 1]).mean()))
    assert found[0, 1].item() == pytest.approx(wanted, rel=1e-5)
