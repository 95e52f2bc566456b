"""The mixture: its likelihood never falls, and without classes it is scikit-learn's."""

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from intaglio.explain.slices.error_mixture import fitted_mixture, shares
from slice_scenes import rows

ASKED = {"classes": 2, "components": 6, "updates": 200, "seed": 0}


def test_the_likelihood_never_falls():
    given = rows()
    for gain in (0.0, 1.0, 10.0):
        _, found = fitted_mixture(given.features, given.truth, given.called, gain=gain, **ASKED)
        assert len(found) > 3
        assert (np.diff(found) > -1e-9).all()


def test_without_the_classes_a_step_is_that_of_scikit_learns_diagonal_mixture():
    given = rows()
    before, _ = fitted_mixture(given.features, given.truth, given.called, gain=0.0, **{**ASKED, "updates": 1})
    theirs = GaussianMixture(
        6, covariance_type="diag", weights_init=before.weights, means_init=before.means,
        precisions_init=1 / before.variances, max_iter=1, tol=0,
    )  # fmt: skip
    with pytest.warns(match="did not converge"):
        theirs.fit(given.features)
    after, _ = fitted_mixture(given.features, given.truth, given.called, gain=0.0, **{**ASKED, "updates": 2})
    np.testing.assert_allclose(after.means, theirs.means_, atol=1e-6)
    np.testing.assert_allclose(after.variances, theirs.covariances_, atol=1e-5)
    np.testing.assert_allclose(after.weights, theirs.weights_, atol=1e-6)
    np.testing.assert_allclose(
        shares(after.joint(given.features, given.truth, given.called)), theirs.predict_proba(given.features), atol=1e-4
    )


def test_the_density_of_a_row_is_that_of_its_parts():
    given = rows(30)
    mixture, _ = fitted_mixture(given.features, given.truth, given.called, gain=2.0, **ASKED)
    row, s = 3, 1
    normal = np.prod(
        np.exp(-((given.features[row] - mixture.means[s]) ** 2) / (2 * mixture.variances[s]))
        / np.sqrt(2 * np.pi * mixture.variances[s])
    )
    classes = (mixture.truth[s, given.truth[row]] + 1e-10) * (mixture.called[s, given.called[row]] + 1e-10)
    by_hand = np.log(mixture.weights[s] + 1e-10) + np.log(normal) + 2 * np.log(classes)
    assert mixture.joint(given.features, given.truth, given.called)[row, s] == pytest.approx(by_hand)
