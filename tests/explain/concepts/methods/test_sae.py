import numpy as np

from intaglio.explain.concepts.methods.sae import SparseConcepts

SMALL = {"count": 3, "points": 4, "active": 2, "updates": 5}
BAD = {"active": 0}
PIECES = {"batch": 3}


def test_planted_directions_are_found_as_unit_rows_whose_codes_rebuild_the_features():
    source = np.random.default_rng(0)
    bank = np.kron(np.eye(3), [1.0, 2.0, 2.0]) / 3
    which = np.arange(300) % 3
    features = (1 + source.random(300))[:, None] * bank[which] + 0.01 * source.random((300, 9))
    method = SparseConcepts(count=3, active=1, updates=150)
    found = method.bank(features)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    assert (found @ bank.T).max(0).min() > 0.99
    codes = method.codes(features, found)
    assert ((features - codes @ found) ** 2).sum() < 0.01 * (features**2).sum()
