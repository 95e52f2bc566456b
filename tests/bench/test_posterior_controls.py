"""Controls of SPOT's posterior say nothing of the pairs, and keep all else of it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from intaglio.bench.latent.posterior_controls import ControlledSPOT, constant_posterior, random_posterior
from intaglio.causal.methods.spot.method import SPOT
from intaglio.causal.methods.spot.posterior import SkeletonProbabilities
from intaglio.causal.tables.table import Table
from intaglio.runs.run import Run

D = 8
ABOVE = np.triu_indices(D, 1)


def learnt():
    random = np.random.default_rng(0)
    posterior, inclusion = (np.triu(random.random((D, D)), 1) for _ in range(2))
    names = tuple(f"x{k}" for k in range(D))
    return SkeletonProbabilities(names, posterior + posterior.T, inclusion + inclusion.T, ("a flag",))


def test_the_constant_one_keeps_the_density():
    found, given = constant_posterior(learnt()), learnt()
    for name in ("posterior", "inclusion"):
        values = getattr(found, name)[ABOVE]
        assert np.ptp(values) == pytest.approx(0)
        assert values.sum() == pytest.approx(getattr(given, name)[ABOVE].sum())
    assert found.names == given.names
    assert found.flags == given.flags


def test_the_random_one_is_a_permutation_of_pairs_and_a_function_of_the_seed():
    found, given = random_posterior(learnt(), 3), learnt()
    pairs = [set(zip(one.posterior[ABOVE], one.inclusion[ABOVE], strict=True)) for one in (found, given)]
    assert pairs[0] == pairs[1]
    assert not np.array_equal(found.posterior, given.posterior)
    np.testing.assert_array_equal(found.posterior, found.posterior.T)
    np.testing.assert_array_equal(random_posterior(learnt(), 3).posterior, found.posterior)
    assert not np.array_equal(random_posterior(learnt(), 4).posterior, found.posterior)


@pytest.mark.parametrize("control", ["constant", "random"])
def test_a_search_has_the_control_in_place_of_the_learnt_posterior(control):
    random = np.random.default_rng(1)
    a, b, e = random.standard_normal((3, 300))
    frame = pd.DataFrame({"a": a, "b": b, "c": a + b + 0.5 * e, "d": a - b + random.standard_normal(300)})
    small: dict[str, Any] = {"restarts": 2, "stages": 2, "steps": 5, "sweeps": 1, "half_samples": 0, "seed": 2}
    found = ControlledSPOT(control=control, **small)(frame)
    own = SPOT(**small)._skeleton(Table.from_frame(frame), len(frame), Run.none())
    expected = constant_posterior(own) if control == "constant" else random_posterior(own, 2)
    np.testing.assert_allclose(np.asarray(found.adjacent), expected.posterior)
    assert not np.allclose(expected.posterior, own.posterior)
