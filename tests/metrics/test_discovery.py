import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intaglio.metrics.discovery import q_values

scores = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=12)


def by_hand(found: list[float], null: list[float], scale: float) -> list[float]:
    def rate(s: float) -> float:
        return min(1.0, (1 + scale * sum(n >= s for n in null)) / sum(f >= s for f in found))

    return [min(rate(s) for s in found if s <= mine) for mine in found]


@given(scores, st.lists(st.integers(0, 8).map(float), max_size=12), st.sampled_from([0.5, 1.0, 3.0]))
def test_it_is_the_lowest_estimate_at_or_below_each_score(found, null, scale):
    np.testing.assert_allclose(q_values(found, null, scale=scale), by_hand(found, null, scale))


@given(scores, scores)
def test_a_higher_score_is_never_less_certain(found, null):
    q = q_values(found, null)
    assert all(q[i] <= q[j] for i in range(len(found)) for j in range(len(found)) if found[i] >= found[j])
    assert ((q > 0) & (q <= 1)).all()


def test_the_rate_holds_where_most_finds_are_chance():
    """Of 100 finds 70 come from the null; the share of those among the finds reported at 0.2 stays near 0.2."""
    shares = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        truth = np.arange(100) < 30
        found = random.normal(np.where(truth, 3.0, 0.0))
        reported = q_values(found, random.normal(size=70)) <= 0.2
        shares.append((reported & ~truth).sum() / max(1, reported.sum()))
    assert np.mean(shares) <= 0.2


def test_with_no_null_only_the_number_of_finds_speaks():
    assert q_values([5.0, 4.0], []).tolist() == [0.5, 0.5]


def test_no_scale_is_refused():
    with pytest.raises(ValueError, match="scale must be above 0, not 0"):
        q_values([1.0], [1.0], scale=0.0)
