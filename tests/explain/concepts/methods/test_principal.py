import numpy as np

from intaglio.explain.concepts.methods.principal import PrincipalConcepts

SMALL = {"count": 3, "points": 4}
BAD = {"count": 0}
PIECES = {"batch": 3}


def test_directions_are_the_eigenvectors_of_the_squared_sums_with_their_largest_number_above_0():
    features = np.random.default_rng(0).random((30, 5))
    bank = PrincipalConcepts(count=2).bank(features)
    values, vectors = np.linalg.eigh(features.T @ features)
    np.testing.assert_allclose(np.abs(bank @ vectors[:, [-1, -2]]), np.eye(2), atol=1e-8)
    assert (bank[np.arange(2), np.abs(bank).argmax(1)] > 0).all()
    codes = PrincipalConcepts().codes(features, bank)
    np.testing.assert_allclose((codes**2).sum(0), values[[-1, -2]])
