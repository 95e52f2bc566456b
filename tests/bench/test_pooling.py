import numpy as np
import pytest

from intaglio.bench.kit.pooling import Audit, margin, mean_auc, pooled_tpr


def audit(members, holdouts):
    return Audit(np.array(members, float), np.array(holdouts, float))


def test_the_mean_is_over_audits_not_over_pooled_scores():
    # Within each audit the members win; pooled, the second audit's holdouts would beat the first one's members.
    audits = [audit([2, 3], [0, 1]), audit([102, 103], [100, 101])]
    assert mean_auc(audits).value == 1.0


def test_ties_count_half():
    assert mean_auc([audit([1, 1], [1, 1])]).value == 0.5
    assert mean_auc([audit([1, 2], [1, 0])]).value == pytest.approx((0.5 + 1 + 1 + 1) / 4)


def test_interval_holds_the_value_and_shrinks_with_more_audits():
    random = np.random.default_rng(0)
    audits = [audit(random.normal(1, 1, 10), random.normal(0, 1, 10)) for _ in range(12)]
    one, many = mean_auc(audits[:1]), mean_auc(audits)
    assert one.low <= one.value <= one.high
    assert many.high - many.low < one.high - one.low


def test_margin_resamples_the_same_pictures_for_both():
    random = np.random.default_rng(1)
    audits = [audit(random.normal(1, 1, 10), random.normal(0, 1, 10)) for _ in range(4)]
    same = margin(audits, [audit(3 * a.members + 1, 3 * a.holdouts + 1) for a in audits])
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_interval_of_one_audit_is_that_of_its_own_pictures_and_paired_differences_are_narrower():
    random = np.random.default_rng(2)
    one = audit(random.normal(1, 1, 40), random.normal(0, 1, 40))
    other = audit(one.members + random.normal(0, 0.1, 40), one.holdouts + random.normal(0, 0.1, 40))
    alone, apart = mean_auc([one]), margin([one], [other])
    a = alone.value  # Hanley and McNeil's standard error
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = ((a * (1 - a) + 39 * (q1 - a * a) + 39 * (q2 - a * a)) / 1600) ** 0.5
    assert (alone.high - alone.low) / 2 == pytest.approx(1.96 * error, rel=0.25)
    assert apart.high - apart.low < (alone.high - alone.low) / 3


def test_no_audits_have_no_mean():
    with pytest.raises(ValueError, match="no audits"):
        mean_auc([])


def test_pooled_tpr_puts_audits_on_the_scale_of_their_holdouts():
    wide = audit([500.0] * 50, [-10.0, 10.0] * 25)
    narrow = audit([5.0] * 50, [-0.1, 0.1] * 25)
    assert pooled_tpr([wide, narrow], 0.01) == 1.0, "raw, the narrow audit's members would lie below the wide holdouts"
    assert pooled_tpr([wide], 0.01) is None, "50 holdouts cannot resolve one in a hundred"
