"""Gradients of a learner by hand, and that a classifier keeps its own weights."""

import pytest
import torch

from intaglio.errors import BadInput
from intaglio.protect.private.classifier_learner import ClassifierLearner, features_of
from intaglio.protect.private.labelled_pictures import LabelledPictures
from private_scenes import classes, small_classifier


@pytest.fixture(scope="module")
def pictures():
    return LabelledPictures.of(classes(3))


def test_a_head_learns_by_softmax_less_truth_times_the_features(pictures):
    classifier = small_classifier()
    learner = ClassifierLearner.of(classifier, "private", pictures, "head")
    begun = learner.begun()
    assert not any(one.any() for one in begun.values()), "a head begins with zeros, whatever the pictures"
    weights = {
        "weight": torch.randn(2, 6, generator=torch.Generator().manual_seed(0)),
        "bias": torch.tensor([0.3, -0.1]),
    }
    (rows,) = learner.rows(weights, [4, 0])
    features = features_of(classifier, pictures.pixels)[[4, 0]]
    error = torch.softmax(features @ weights["weight"].T + weights["bias"], 1) - torch.tensor([[0.0, 1], [1, 0]])
    torch.testing.assert_close(rows["weight"], error[:, :, None] * features[:, None])
    torch.testing.assert_close(rows["bias"], error)


@pytest.mark.parametrize("trained", ["head", "film", "all"])
def test_the_mean_gradient_is_that_of_the_rows_and_the_classifier_is_left_alone(pictures, trained):
    classifier = small_classifier()
    before = {name: one.clone() for name, one in classifier.state_dict().items()}
    learner = ClassifierLearner.of(classifier, "private", pictures, trained)
    weights = {
        name: one + 0.05 * torch.randn(one.shape, generator=torch.Generator().manual_seed(3))
        for name, one in learner.begun().items()
    }
    rows = list(learner.rows(weights, range(6)))
    mean = learner.mean_gradient(weights, range(6))
    for name, one in mean.items():
        torch.testing.assert_close(torch.cat([part[name] for part in rows]).mean(0), one, atol=1e-6, rtol=1e-4)
        assert one.abs().max() > 0
    assert not any(one.any() for one in learner.mean_gradient(weights, []).values())
    taught = learner.taught(weights).state_dict()
    for name, one in weights.items():
        assert torch.equal(taught[learner.prefix + name], one)
    assert all(torch.equal(one, classifier.state_dict()[name]) for name, one in before.items())


def test_what_learns_is_the_head_the_scales_with_it_or_all(pictures):
    names = {
        one: set(ClassifierLearner.of(small_classifier(), "x", pictures, one).weights)
        for one in ("head", "film", "all")
    }
    assert names["head"] == {"weight", "bias"}
    assert names["film"] == {
        "heads.x.weight", "heads.x.bias",
        "stages.0.0.1.weight", "stages.0.0.1.bias", "stages.1.0.1.weight", "stages.1.0.1.bias",
    }  # fmt: skip
    assert names["all"] == names["film"] | {"stages.0.0.0.weight", "stages.1.0.0.weight"}


def test_pictures_that_no_promise_covers_are_refused():
    good = classes(3)
    with pytest.raises(BadInput, match="two or more with --train"):
        LabelledPictures.of({"red": good["red"]})
    with pytest.raises(BadInput, match="no pictures of blue"):
        LabelledPictures.of({"red": good["red"], "blue": good["blue"][[]]})
    with pytest.raises(BadInput, match="1 of 6 pictures is there twice"):
        LabelledPictures.of({"red": good["red"], "blue": good["red"][[0]], "more": good["blue"][:2]})
    with pytest.raises(BadInput, match="several sizes"):
        LabelledPictures.of({"red": good["red"], "blue": classes(3, side=20)["blue"]})
    found = LabelledPictures.of(good)
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.hashes == (*good["red"].hashes, *good["blue"].hashes)
