"""Evidence from counts against its formula, and the bound that it sets on logits of rare levels."""

from itertools import product

import numpy as np
import pytest
from scipy.special import betaln, gammaln

from assumption_tables import KINDS, alarms, simulated
from intaglio.causal.methods.sicl.decoding.rare_levels import bounded_logits
from intaglio.causal.methods.sicl.networks.encoding import BINARY, CONTINUOUS
from intaglio.causal.scores.count_evidence import log_bayes_factor


def sequential(codes: list[int], levels: int, prior: float) -> float:
    """The probability of a sequence of draws under a symmetric Dirichlet prior, one draw after the other."""
    total, counts = 0.0, np.zeros(levels)
    for code in codes:
        total += np.log((counts[code] + prior) / (counts.sum() + levels * prior))
        counts[code] += 1
    return total


def test_the_evidence_is_that_of_one_draw_after_the_other():
    random = np.random.default_rng(0)
    first, second, given = random.integers(3, size=40), random.integers(2, size=40), random.integers(2, size=40)
    second = np.where(random.random(40) < 0.6, first > 1, second)
    expected = 0.0
    for stratum in (0, 1):
        here = given == stratum
        a, b = first[here].tolist(), second[here].tolist()
        together = [2 * x + y for x, y in zip(a, b, strict=True)]
        cell = 1 / (2 * 3 * 2)
        expected += sequential(together, 6, cell) - sequential(a, 3, 2 * cell) - sequential(b, 2, 3 * cell)
    assert log_bayes_factor(first, second, given) == pytest.approx(expected)
    assert log_bayes_factor(second, first, given) == pytest.approx(expected)


def test_it_is_the_gain_of_bdeu_by_an_edge():
    """BDeu of the child with the parent less BDeu without it, with an equivalent sample size of 1."""
    random = np.random.default_rng(1)
    parent = random.integers(2, size=200)
    child = np.where(random.random(200) < 0.3, parent, random.integers(2, size=200))
    with_parent = without = 0.0
    for value in (0, 1):
        ones, zeros = (child[parent == value] == 1).sum(), (child[parent == value] == 0).sum()
        with_parent += betaln(ones + 0.25, zeros + 0.25) - betaln(0.25, 0.25)
    ones, zeros = (child == 1).sum(), (child == 0).sum()
    without = betaln(ones + 0.5, zeros + 0.5) - betaln(0.5, 0.5)
    assert log_bayes_factor(child, parent, np.zeros(200, int)) == pytest.approx(with_parent - without)
    assert gammaln(3) == pytest.approx(np.log(2))


def test_the_bound_is_the_prior_where_counts_say_nothing():
    values = np.stack([column.astype(float) for column in alarms(0).values()], 1)
    found = bounded_logits(np.full((5, 5), 9.0), values, np.full(5, BINARY))
    assert np.array_equal(found, found.T)
    assert found[0, 1] == pytest.approx(-np.log(4))
    true = {(0, 2), (1, 2), (2, 3), (2, 4)}
    for i, j in product(range(5), repeat=2):
        if i < j:
            assert (found[i, j] > 0) == ((i, j) in true)
    low = bounded_logits(np.full((5, 5), -7.0), values, np.full(5, BINARY))
    assert (low == -7.0).all(), "a logit is never raised"


def test_two_causes_of_one_column_have_the_prior_whatever_it_tells_of_them():
    """Given their common effect two causes depend on each other, which is no evidence of an edge between them."""
    values = np.stack([column.astype(float) for column in alarms(0).values()], 1)[:, :3]
    theft, quake, siren = values.astype(int).T
    assert log_bayes_factor(theft, quake, np.zeros_like(siren)) < 0 < 5 < log_bayes_factor(theft, quake, siren)
    found = bounded_logits(np.full((3, 3), 9.0), values, np.full(3, BINARY))
    assert found[0, 1] == pytest.approx(-np.log(2))


def test_common_levels_and_numbers_are_let_be():
    random = np.random.default_rng(2)
    logits = random.standard_normal((4, 4))
    common = (random.random((400, 4)) < 0.2).astype(float)
    assert bounded_logits(logits, common, np.full(4, BINARY)) is logits
    assert bounded_logits(logits, random.standard_normal((400, 4)), np.full(4, CONTINUOUS)) is logits
    few = common[:30]
    few[:, 0] = np.arange(30) == 3
    assert bounded_logits(logits, few, np.full(4, BINARY)) is logits, "one case in thirty makes no level rare"


def test_hardly_any_table_of_the_simulator_is_touched():
    """5 of 1,920."""
    tables = list(simulated(81_000_000, 100))
    touched = 0
    for values, kinds in tables:
        logits = np.zeros((len(kinds),) * 2)
        touched += bounded_logits(logits, values, np.array([KINDS.index(kind) for kind in kinds])) is not logits
    assert touched <= 2
