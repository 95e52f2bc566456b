import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm

from certify_scenes import HEAD, classifier, linear, pictures
from intaglio.errors import BadInput
from intaglio.protect.certify.methods.smoothing import Smoothing
from intaglio.protect.certify.radius import certified_radius
from intaglio.protect.certify.result import ABSTAINED, CertifiedPicture, CertifiedPictures, rounded_down
from intaglio.runs.run import Run

SMALL = {"first": 20, "votes": 60, "alpha": 0.1}
BAD = {"sigma": 0.0}
PIECES = {"batch": 7}


def test_the_radius_of_given_votes():
    """990 of 1,000 at 0.001: a bound of 0.97604, 1.978 sigma; all of 1,000: alpha^(1/1000), 2.46 sigma."""
    assert certified_radius(990, 1000, 0.5, 0.001) == pytest.approx(0.5 * 1.978, abs=5e-4)
    assert certified_radius(1000, 1000, 1.0, 0.001) == pytest.approx(norm.ppf(0.001 ** (1 / 1000)))
    assert certified_radius(1000, 1000, 1.0, 0.001) == pytest.approx(2.46, abs=5e-3)
    assert certified_radius(520, 1000, 1.0, 0.001) is None
    assert certified_radius(0, 10, 1.0, 0.5) is None


def test_no_more_than_alpha_of_bounds_lie_above_the_truth():
    alpha, p, votes = 0.05, 0.8, 200
    counts = np.arange(votes + 1)
    bounds = np.array([norm.cdf(certified_radius(int(k), votes, 1.0, alpha) or -9) for k in counts])
    assert binom.pmf(counts[bounds > p], votes, p).sum() <= alpha


def test_a_linear_classifier_has_the_distance_to_its_plane_whatever_the_noise():
    """p = Phi(|w x + b| / (sigma ||w||)), so that sigma Phi^-1(p) is the distance itself."""
    net, distance = linear(pictures(1).pixels[0], 0.3)
    for sigma in (0.25, 0.5):
        found = Smoothing(sigma=sigma, votes=4000, batch=500)(net, HEAD, pictures(1)).pictures[0]
        p = found.count / 4000
        assert p == pytest.approx(norm.cdf(distance / sigma), abs=4 * math.sqrt(p * (1 - p) / 4000))
        assert found.radius is not None
        assert 0.6 * distance < found.radius < distance


def test_without_a_majority_there_is_no_verdict_and_the_votes_are_told():
    net, _ = linear(pictures(1).pixels[0], 0.0)
    found = Smoothing(votes=200)(net, HEAD, pictures(1))
    (one,) = found.pictures
    assert (one.label, one.radius) == (ABSTAINED, None)
    assert 60 < one.count < 140
    assert found.statement == "No class of 1 picture is proven at noise of 0.25."
    assert found.rows()[0]["class"] == ""


def test_a_picture_is_certified_alike_in_any_company_and_under_any_name():
    images, method = pictures(3), Smoothing(**SMALL)
    net, _ = linear(images.pixels[0], 0.1)
    every = method(net, HEAD, images).pictures
    assert 0 < every[0].count < 60
    assert method(net, HEAD, images[[2]]).pictures == (every[2],)
    assert method(net, HEAD, images[[2, 0]]).pictures == (every[2], every[0])
    assert Smoothing(**SMALL, seed=1)(net, HEAD, images[[0]]).pictures != (every[0],)


def test_the_class_is_chosen_on_the_first_draw_and_its_votes_are_those_of_the_second(monkeypatch):
    """A bound of the class that won its own draw would be of the larger of two chances."""
    draws = {"first": torch.tensor([9, 1]), "votes": torch.tensor([3, 57])}
    seen = []

    def counts(self, classifier, head, pixels, labels, copies, classes):
        seen.append((labels[-1], copies))
        return draws[labels[-1]]

    monkeypatch.setattr(Smoothing, "_counts", counts)
    net, _ = linear(pictures(1).pixels[0], 0.3)
    (one,) = Smoothing(first=10, votes=60)(net, HEAD, pictures(1)).pictures
    assert (one.most, one.count, one.label) == (0, 3, ABSTAINED)
    assert seen == [("first", 10), ("votes", 60)]


def test_the_two_draws_have_noises_of_their_own():
    method = Smoothing(**SMALL)
    first, votes = (torch.cat(list(method._noise((3, 4, 4), ("a", draw), 60))) for draw in ("first", "votes"))
    assert len(first) == len(votes) == 60
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), votes.flatten()]))[0, 1])) < 0.1
    assert float(votes.std()) == pytest.approx(0.25, rel=0.05)


def test_votes_at_another_noise_are_not_taken_for_these(tmp_path):
    net, images = linear(pictures(1).pixels[0], 0.1)[0], pictures(1)
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    with Run.open(tmp_path, "verb", "m", {}, {}, **about) as run:
        Smoothing(**SMALL)(net, HEAD, images, run=run)
        louder = Smoothing(**SMALL, sigma=2.0)
        assert louder(net, HEAD, images, run=run) == louder(net, HEAD, images)


def test_certified_accuracy_counts_right_classes_beyond_a_radius():
    rows = (
        CertifiedPicture("a", 1, 1, 9, 0.6),
        CertifiedPicture("b", 0, 0, 9, 0.2),
        CertifiedPicture("c", -1, 0, 5, None),
    )
    found = CertifiedPictures("smoothing", "kind", ("x", "y"), 0.25, 10, 0.1, rows)
    assert [found.accuracy([1, 0, 0], radius) for radius in (0.0, 0.3, 0.6)] == pytest.approx([2 / 3, 1 / 3, 0])
    assert found.accuracy([0, 0, 0], 0.0) == pytest.approx(1 / 3)
    assert (found.figures()["median_radius"], found.figures()["certified"]) == (0.2, 2)
    assert "2 of 3 pictures have a proven class, half of them within a radius of 0.20 or more" in found.statement
    assert "a chance of 0.1 at most" in found.statement
    assert rounded_down(0.3799, 2) == "0.37"


def test_what_cannot_be_certified_is_refused():
    with pytest.raises(BadInput, match="no pictures to certify"):
        Smoothing()(classifier(), HEAD, pictures(1)[[]])
    with pytest.raises(BadInput, match="no head 'colour'; choose one of: kind"):
        Smoothing()(classifier(), "colour", pictures(1))
    for bad in ({"votes": 0}, {"alpha": 1.0}, {"batch": 0}, {"sigma": math.inf}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Smoothing(**bad)
