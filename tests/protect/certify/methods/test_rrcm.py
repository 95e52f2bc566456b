import pytest

from certify_scenes import HEAD, by_level, classifier, pictures
from intaglio.errors import BadInput
from intaglio.protect.certify.methods.rrcm import RepresentationConsistency
from intaglio.protect.certify.methods.smoothing import Smoothing

SMALL = {"first": 20, "votes": 60, "alpha": 0.1}
BAD = {"sigma": -0.1}
PIECES = {"batch": 7}


def test_the_classifier_is_told_the_sigma_of_the_noise_and_smoothing_tells_it_none():
    """The planted network knows nothing but what it is told, in sigma of pixels in [0, 1] and not in 2 sigma."""
    net, images = by_level(0.3), pictures(1)
    for sigma, label in ((0.29, 0), (0.31, 1)):
        (one,) = RepresentationConsistency(**SMALL, sigma=sigma)(net, HEAD, images).pictures
        assert (one.label, one.count) == (label, 60)
        (plain,) = Smoothing(**SMALL, sigma=sigma)(net, HEAD, images).pictures
        assert plain.label == 0


def test_a_classifier_that_takes_no_level_is_refused_before_any_vote():
    with pytest.raises(BadInput, match="rrcm tells the classifier the level of the noise, and this one takes none"):
        RepresentationConsistency()(classifier(), HEAD, pictures(1))
