from collections import Counter, defaultdict
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.causal.scores.bic import ConditionalGaussianBIC, GaussianBIC, LocalScore, score_of
from small_graphs import classes

FAMILIES = [(child, parents) for child in range(4) for k in range(4) for parents in combinations(range(4), k)]
FAMILIES = [(child, parents) for child, parents in FAMILIES if child not in parents]


def numbers(seed, n, d):
    random = np.random.default_rng(seed)
    return random.normal(0, 1, (n, d)) @ random.normal(0, 1, (d, d)) * random.uniform(0.1, 50, d) + 7


def table(seed, n, levels):
    """Levels and numbers that depend on one another."""
    random = np.random.default_rng(seed)
    hidden = random.normal(0, 1, (n, len(levels))) @ random.normal(0, 1, (len(levels), len(levels)))
    for k, r in enumerate(levels):
        if r:
            hidden[:, k] = np.searchsorted(np.quantile(hidden[:, k], np.arange(1, r) / r), hidden[:, k])
    return hidden


def residual(values, child, parents):
    """Mean squared residual of a regression with an intercept."""
    design = np.column_stack([np.ones(len(values)), values[:, parents]])
    return ((values[:, child] - design @ np.linalg.lstsq(design, values[:, child])[0]) ** 2).mean()


@pytest.mark.parametrize(("child", "parents"), FAMILIES)
def test_the_gaussian_score_is_bic_of_a_regression(child, parents):
    values, n = numbers(3, 60, 4), 60
    expected = -n / 2 * (1 + np.log(residual(values, child, list(parents)) / values[:, child].var()))
    expected -= 0.5 * (len(parents) + 1) * np.log(n)
    assert GaussianBIC.of(values)(child, parents) == pytest.approx(expected)
    raw = GaussianBIC(np.cov(values.T, ddof=0), 60.0)
    assert raw(child, parents) == pytest.approx(expected - n / 2 * np.log(values[:, child].var()))


def test_a_hundred_rows_of_more_columns_stay_finite():
    values = numbers(0, 30, 100)
    score = GaussianBIC.of(values)
    assert np.isfinite(score(0, tuple(range(1, 60))))
    doubled = GaussianBIC.of(np.column_stack([values[:, :3], values[:, 1], values[:, 1] + values[:, 2]]))
    # Parents that are copies, or sums, of others explain what these explain, and cost what parents cost.
    assert doubled(0, (1, 2, 3, 4)) == pytest.approx(doubled(0, (1, 2)) - np.log(30), abs=1e-3)
    assert np.isfinite(doubled(1, (3,)))


@given(st.integers(0, 2**32 - 1), st.integers(12, 200))
@settings(max_examples=30, deadline=None)
def test_the_multinomial_score_is_bic_of_counts(seed, n):
    levels = (2, 3, 4, 2)
    codes = table(seed, n, levels)
    score = ConditionalGaussianBIC(codes, levels)
    for child, parents in FAMILIES:
        cells = defaultdict(Counter)
        for row in codes.astype(int).tolist():
            cells[tuple(row[k] for k in parents)][row[child]] += 1
        expected = sum(c * np.log(c / cell.total()) for cell in cells.values() for c in cell.values())
        expected -= 0.5 * np.log(n) * (levels[child] - 1) * np.prod([levels[k] for k in parents])
        assert score(child, parents) == pytest.approx(expected)


def test_many_levels_overflow_nothing():
    random = np.random.default_rng(0)
    codes = random.integers(0, 1000, (50, 12)).astype(float)
    score = ConditionalGaussianBIC(codes, (1000,) * 12)
    n = 50
    # All rows differ in their parents, so each child is certain.
    assert score(0, tuple(range(1, 12))) == pytest.approx(-0.5 * np.log(n) * 999 * 1000.0**11)


def test_among_numbers_alone_both_scores_agree():
    values = numbers(1, 80, 4)
    one, two = GaussianBIC.of(values), ConditionalGaussianBIC(values, (0, 0, 0, 0))
    for child, parents in FAMILIES:
        assert two(child, parents) == pytest.approx(one(child, parents), abs=1e-3)


def joint(values, levels, columns_of_set):
    """Log-likelihood (without 2 pi) and parameters of a set of variables, cell by cell."""
    coded, real = [k for k in columns_of_set if levels[k]], [k for k in columns_of_set if not levels[k]]
    n, k, total = len(values), len(real), 0.0
    x = (values - values.mean(0)) / values.std(0)
    cells = defaultdict(list)
    for row in range(n):
        cells[tuple(values[row, coded])].append(row)
    spread = {key: np.cov(x[rows][:, real].T, ddof=0).reshape(k, k) for key, rows in cells.items()}
    max_over_rows = sum(len(rows) * spread[key] for key, rows in cells.items()) / n
    for key, rows in cells.items():
        total += len(rows) * np.log(len(rows) / n)
        if k:
            drawn = (len(rows) * spread[key] + (k + 1) * max_over_rows) / (len(rows) + k + 1)
            total -= 0.5 * len(rows) * (np.log(np.linalg.det(drawn)) + np.trace(np.linalg.inv(drawn) @ spread[key]))
    return total, np.prod([levels[k] for k in coded]) * (1 + k + k * (k + 1) / 2) - 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
def test_the_mixed_score_is_bic_of_gaussians_within_cells(seed):
    levels, n = (0, 3, 0, 2), 70
    values = table(seed, n, levels)
    score = ConditionalGaussianBIC(values, levels)
    for child, parents in FAMILIES:
        one, two = joint(values, levels, [child, *parents]), joint(values, levels, list(parents))
        free = one[1] - two[1] - (levels[child] == 0)
        expected = one[0] - two[0] - 0.5 * np.log(n) * free
        assert score(child, parents) == pytest.approx(expected, abs=1e-4), (child, parents)


@pytest.mark.parametrize("levels", [(0, 0, 0, 0), (2, 3, 2, 4), (0, 3, 0, 2)])
def test_markov_equivalent_dags_score_the_same(levels):
    score = score_of(table(5, 90, levels), levels)
    for members in classes(4).values():
        sums = [sum(score(j, tuple(np.flatnonzero(dag[:, j]).tolist())) for j in range(4)) for dag in members]
        assert np.ptp(sums) < 1e-6


@pytest.mark.parametrize("levels", [(0, 0, 0), (3, 2, 3), (0, 3, 2), (3, 0, 0)])
def test_gaps_cost_rows_and_neither_evidence_nor_direction(levels):
    random = np.random.default_rng(1)
    n = 4000
    hidden = random.normal(0, 1, (n, 2))
    values = table(6, n, levels)
    for k in (0, 1):
        values[:, k] = hidden @ [1, 0.5 + k]
        if levels[k]:
            values[:, k] = np.searchsorted(np.quantile(values[:, k], np.arange(1, levels[k]) / levels[k]), values[:, k])
    values[:, 2] = random.permutation(values[:, 2])
    gappy = np.where(random.random(values.shape) < [0.0, 0.3, 0.3], np.nan, values)
    whole, score = score_of(values, levels), score_of(gappy, levels)
    gain, lost = whole(0, (1,)) - whole(0), whole(0, (1, 2)) - whole(0, (1,))
    assert gain > 100
    assert lost < 0
    # What a parent explains a row is the same; all rows, or as many as two columns share, are counted.
    assert 0.55 * gain < score(0, (1,)) - score(0) < 1.25 * gain
    assert score(0, (1, 2)) < score(0, (1,))
    # The pair is worth the same both ways, though only one of the two has gaps.
    assert score(0, (1,)) - score(0) == pytest.approx(score(1, (0,)) - score(1), rel=0.02)


def test_correlations_over_gaps_are_those_of_the_rows_that_have_both():
    random = np.random.default_rng(2)
    values = numbers(2, 300, 4)
    values[random.random(values.shape) < 0.2] = np.nan
    score = GaussianBIC.of(values)
    counts = []
    for i, j in combinations(range(4), 2):
        both = ~np.isnan(values[:, [i, j]]).any(1)
        counts.append(both.sum())
        assert score.covariance[i, j] == pytest.approx(np.corrcoef(values[both][:, [i, j]].T)[0, 1])
    assert score.rows == pytest.approx(np.mean(counts))


def test_correlations_that_no_table_has_are_made_ones_that_one_could():
    values = np.full((30, 3), np.nan)
    x = np.random.default_rng(0).normal(0, 1, 10)
    # Each pair is seen in rows of its own: 0 and 1 the same, 1 and 2 the same, 0 and 2 opposite.
    values[:10, 0], values[:10, 1] = x, x
    values[10:20, 1], values[10:20, 2] = x, x
    values[20:, 0], values[20:, 2] = x, -x
    score = GaussianBIC.of(values)
    assert np.linalg.eigvalsh(score.covariance)[0] == pytest.approx(1e-4)
    assert np.isfinite(score(0, (1, 2)))


def test_too_few_shared_rows_say_nothing():
    random = np.random.default_rng(0)
    values = random.integers(0, 2, (100, 2)).astype(float)
    values[:, 1] = values[:, 0]
    values[:45, 0], values[54:, 1] = np.nan, np.nan
    score = ConditionalGaussianBIC(values, (2, 2))
    assert score(0, (1,)) == pytest.approx(score(0) - 0.5 * np.log(100))
    values[54:60, 1] = values[54:60, 0]
    assert ConditionalGaussianBIC(values, (2, 2))(0, (1,)) > score(0)


def test_numbers_and_levels_are_found_to_depend_both_ways():
    random = np.random.default_rng(0)
    x = random.normal(0, 1, 400)
    values = np.column_stack([x, x + random.normal(0, 0.5, 400) > 0, random.integers(0, 3, 400)]).astype(float)
    score = score_of(values, (0, 2, 3))
    assert isinstance(score, ConditionalGaussianBIC)
    for a, b in product(range(3), repeat=2):
        if a != b:
            assert (score(a, (b,)) > score(a)) == ({a, b} == {0, 1})


def test_what_was_asked_is_remembered_whatever_the_order():
    class Counting(LocalScore):
        asked = 0
        columns = 3

        def family(self, child, parents):
            Counting.asked += 1
            return float(child + sum(parents))

    score = Counting()
    assert score(0, (2, 1)) == score(0, [1, 2]) == 3.0
    assert Counting.asked == 1
    assert Counting().known == {}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GaussianBIC(np.eye(2), 1.0), "2 rows"),
        (lambda: GaussianBIC(np.diag([1.0, 0.0]), 9.0), "constant columns"),
        (lambda: GaussianBIC.of(np.ones((9, 2))), "constant columns"),
        (lambda: ConditionalGaussianBIC(np.zeros((9, 2)), (2,)), "give each one"),
        (lambda: ConditionalGaussianBIC(np.zeros((1, 1)), (2,)), "2 rows"),
        (lambda: ConditionalGaussianBIC(np.full((9, 1), 2.0), (2,)), "column 0 has 2 levels"),
        (lambda: ConditionalGaussianBIC(np.full((9, 1), 0.5), (2,)), "codes are 0 to 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
