import numpy as np
import pytest

import surrogate_scenes
from intaglio.explain.surrogate.family import order_of
from intaglio.explain.surrogate.methods.two_phase import TwoPhaseSurrogate

SMALL = {"trees": 5, "most": 4, "depth": 2}
BAD = {"permutations": 0}
PIECES = {}


def test_three_of_two_thousand_columns_are_found_with_their_rule():
    found = TwoPhaseSurrogate(trees=10, depth=2, most=6, permutations=1)(surrogate_scenes.planted(450))
    assert {one.name for one in found.features} == {"f7", "f200", "f1999"}
    assert found.fidelity.value >= 0.95
    assert found.fidelity.low > 0.9
    thresholds = {found.features[place].name: set() for rule in found.rules for place, *_ in rule.bounds}
    for rule in found.rules:
        for place, *ends in rule.bounds:
            thresholds[found.features[place].name] |= {one for one in ends if np.isfinite(one)}
    for name, wanted in (("f7", 0.2), ("f200", -0.3), ("f1999", 0.4)):
        assert list(thresholds[name]) == [pytest.approx(wanted, abs=0.1)]
    answers = sorted(rule.answer[0] for rule in found.rules)
    np.testing.assert_allclose(answers, [0.05, 0.4, 0.55, 0.95], atol=0.03)
    assert [one.says for one in found.counterfactuals] == [None] * 6


def test_both_ranks_count():
    scores = {"probing": np.array([3.0, 2.0, 1.0, 0.0]), "perturbing": np.array([0.0, 2.0, 3.0, 1.0])}
    assert order_of(scores).tolist() == [1, 2, 0, 3]  # mean ranks 2.5, 2, 2, 3.5, by hand
