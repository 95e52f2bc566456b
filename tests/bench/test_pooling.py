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


def test_pooled_tpr_puts_audits_on_the_scale_of_their_holdouts():
    wide = audit([500.0] * 50, [-10.0, 10.0] * 25)
    narrow = audit([5.0] * 50, [-0.1, 0.1] * 25)
    assert pooled_tpr([wide, narrow], 0.01) == 1.0, "raw, the narrow audit's members would lie below the wide holdouts"
    assert pooled_tpr([wide], 0.01) is None, "50 holdouts cannot resolve one in a hundred"
