"""Members of a slice among other pictures, told before the classifier is asked."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

STRENGTH = 0.01
"""Inverse strength of the penalty."""


def recognised(
    features: Float[ndarray, "n d"],
    truth: Int[ndarray, "n"],
    members: Bool[ndarray, "n"],
    others: Float[ndarray, "m d"],
    their_truth: Int[ndarray, "m"],
) -> Bool[ndarray, "m"]:
    """Other pictures that look like the members and are of the same true classes.

    Logistic regression on the pictures' own features, unmasked, learns members from the rest of the first n, of true
    classes that a member has. Nothing that the classifier answered on the other pictures is known to it. Where fewer
    than two are members, or all of such classes are, the classes alone decide.
    """
    own = np.isin(truth, truth[members])
    theirs = np.isin(their_truth, truth[members])
    if members.sum() < 2 or members[own].all():
        return theirs if members.any() else np.zeros(len(others), bool)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000))
    model.fit(features[own], members[own])
    return theirs & np.asarray(model.predict(others), bool)
