import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intaglio.metrics.statistics.false_discovery import q_values

scores = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=12)


def by_hand(found: list[float], null: list[float]) -> list[float]:
    """The least, over thresholds at or below a find, of the finds expected by chance over the finds made."""

    def rate(s: float) -> float:
        p = (1 + sum(n >= s for n in null)) / (1 + len(null))
        return min(1.0, p * len(found) / sum(f >= s for f in found))

    return [min(rate(s) for s in found if s <= mine) for mine in found]


@given(scores, st.lists(st.integers(0, 8).map(float), max_size=12))
def test_it_is_the_lowest_estimate_at_or_below_each_score(found, null):
    np.testing.assert_allclose(q_values(found, null), by_hand(found, null))


@given(scores, scores)
def test_a_higher_score_is_never_less_certain(found, null):
    q = q_values(found, null)
    assert all(q[i] <= q[j] for i in range(len(found)) for j in range(len(found)) if found[i] >= found[j])
    assert ((q > 0) & (q <= 1)).all()


@pytest.mark.parametrize("true_share", [0.0, 0.3, 0.9])
def test_the_rate_holds(true_share):
    """Of 50 finds some come from the null; their mean share among those reported at 0.2 stays below."""
    shares = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        truth = np.arange(50) < 50 * true_share
        found = random.normal(np.where(truth, 3.0, 0.0))
        reported = q_values(found, random.normal(size=70)) <= 0.2
        shares.append((reported & ~truth).sum() / max(1, reported.sum()))
    assert np.mean(shares) <= 0.2 + 3 * np.std(shares) / 300**0.5


def test_one_find_above_all_of_the_null_can_be_told():
    assert q_values([9.0, 1.0, 1.0], [2.0] * 29)[0] == pytest.approx(3 / 30)


def test_with_no_null_nothing_can_be_told():
    assert q_values([5.0, 4.0], []).tolist() == [1.0, 1.0]
    assert q_values([], [1.0]).tolist() == []
