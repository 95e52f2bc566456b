"""A network that is trained to be read by few concepts: a planted one, its file, and what it leaves as it was."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import explain_scenes
import feature_scenes
from intaglio.errors import BadInput, IntaglioError
from intaglio.explain.heads.concept_reading import concept_scores, kept_scores
from intaglio.explain.heads.methods.tuned_concepts import TunedConcepts
from intaglio.explain.heads.network_tuning import HEAD, PLAIN, THROUGH, beginning, kept_of
from intaglio.explain.heads.result import HeadReadings
from intaglio.explain.logistic_fits import chosen_logistic, plain_weights
from intaglio.explain.picture_features import LayerFeatures, TabledFeatures
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import load_classifier, new_classifier
from intaglio.models.scored_network import classifier_score
from intaglio.runs.run import Run

SMALL = {"folds": 3, "strengths": (0.1,), "side": 2, "batch": 8, "concepts": 8, "epochs": 2, "rows": 4}
BAD = {"weight": 0.0}
PIECES = {"batch": 4}


def patterns(side):
    """Stripes either way and a chequerboard, of +1 and -1."""
    line = torch.arange(side) % 2 * 2.0 - 1
    return torch.stack([line.view(-1, 1).expand(side, side), line.expand(side, side), line.view(-1, 1) * line])


def striped(count):
    """Pictures of one faint colour each, their label, below strong patterns that say nothing of it."""
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    ink = torch.full((count, 3, 16, 16), 0.45)
    ink[torch.arange(count), labels] += 0.1
    which = torch.randint(3, (count, 2, 2), generator=source)
    strength = 0.1 + 0.3 * torch.rand(count, 2, 2, generator=source)
    for k, pattern in enumerate(patterns(16)):
        own = ((which == k) * strength).repeat_interleave(8, 1).repeat_interleave(8, 2)
        ink += (own * pattern)[:, None]
    images = ImageSet.from_pixels(1 - ink, [f"{k:03d}" for k in range(count)])
    return images, [("red", "green", "blue")[k] for k in labels.tolist()]


def mixing(faint=0.3):
    """A network with three loud filters for the patterns, and three faint ones for the colours."""
    net = new_classifier({"kind": ("a", "b")}, 0, widths=(6,), repeats=(1,)).eval().requires_grad_(False)
    weight = torch.zeros(6, 3, 3, 3)
    for k, pattern in enumerate(patterns(3)):
        weight[k] = (pattern - pattern.mean()) / 6
        weight[3 + k, k] = faint / 9
    net.stages[0][0][0].weight.copy_(weight)
    return LayerFeatures(classifier_score(net, "kind", side=16))


def test_a_network_whose_loud_features_hide_the_label_is_taught_to_say_it_by_few(tmp_path):
    images, labels = striped(96)
    source = mixing()
    before = copy.deepcopy(source.scored.network.state_dict())
    method = TunedConcepts(
        folds=3, strengths=(1.0,), side=2, concepts=24, learning_rate=1e-2, epochs=16, rows=16, sparsity=0.7
    )
    found = method(source, images, "colour", labels)
    (_, untouched), (_, plain), (_, tuned) = found.networks
    assert untouched.linear_accuracy == tuned.linear_accuracy == found.linear_accuracy == 1
    assert untouched.accuracy < 0.7 < 0.95 < tuned.accuracy
    gain, (low, _) = found.iis_gain(untouched)
    assert gain == pytest.approx(found.iis - untouched.iis)
    assert low > 0.2
    assert found.iis_gain(plain)[0] > 0.03  # by the second term, and not by learning the labels alone
    assert len(found.names) == 33
    assert found.tuned.learnt == 63
    assert all(torch.equal(one, before[name]) for name, one in source.scored.network.state_dict().items())
    assert "On 33 held-out pictures the training through concepts gives" in found.statement
    found.save(tmp_path)
    again = HeadReadings.load(tmp_path)
    assert [one.accuracy for _, one in again.networks] == [one.accuracy for one in (untouched, plain, tuned)]
    stored = load_classifier(tmp_path / "network.safetensors")  # measured with the weights of its file
    assert stored.classes == {HEAD: ("blue", "green", "red")}
    for name, one in found.tuned.classifier.state_dict().items():
        assert torch.equal(one, stored.state_dict()[name])
    assert (tmp_path / "heads.csv").read_text().splitlines()[0].endswith("right_before,linear_right_before")
    held = images[[images.names.index(name) for name in found.names]]
    called = [stored.classes[HEAD][int(k)] for k in stored.logits(held.pixels, HEAD).argmax(1)]
    assert np.mean([one == labels[int(name)] for one, name in zip(called, found.names, strict=True)]) > 0.9


def test_the_head_that_learns_sees_the_concepts_that_are_read_later():
    random = np.random.default_rng(0)
    rows, concepts = random.standard_normal((5, 7)), random.standard_normal((12, 7))
    for sparsity in (0.0, 0.7, 0.95):
        expected = kept_scores(concept_scores(rows, concepts), sparsity)
        given = torch.from_numpy(rows @ concepts.T).requires_grad_(True)
        np.testing.assert_allclose(kept_of(given, sparsity).detach(), expected, atol=1e-6)
    assert kept_of(given, 0.7).square().sum().backward() is None
    assert float(given.grad.abs().sum()) > 0


@pytest.mark.parametrize("classes", [2, 3])
def test_a_network_begins_as_the_linear_head_of_its_features(classes):
    images, _ = striped(24)
    source, codes = mixing(), np.arange(24) % classes
    method = TunedConcepts(**SMALL).tuning
    lessons = method.lessons(source, images.pixels, codes, np.arange(24), ("x", "y", "z")[:classes])
    with torch.no_grad():
        logits = beginning(source, lessons).logits(images.pixels, HEAD).double().numpy()
    rows = source.scored.features(images.pixels).double().numpy()
    pipeline = chosen_logistic(rows, codes, np.arange(24), (0.1,), 0)
    expected = pipeline.predict_log_proba(rows)
    log_odds = logits - logits[:, :1]
    np.testing.assert_allclose(log_odds, expected - expected[:, :1], atol=1e-4)
    uncentred = chosen_logistic(rows, codes, np.arange(24), (0.1,), 0, centred=False)
    weights, biases = plain_weights(uncentred)
    given, told = rows @ weights.T + biases, uncentred.predict_log_proba(rows)
    np.testing.assert_allclose(given - given[:, :1], told - told[:, :1], atol=1e-8)


def test_all_of_the_network_learns_and_the_plain_training_does_without_concepts():
    images, labels = feature_scenes.labelled()
    source = LayerFeatures(explain_scenes.untrained(), "stages.0")
    tuning = TunedConcepts(**SMALL).tuning
    codes = np.array([one == "dark" for one in labels["light"]]).astype(np.int64)
    lessons = tuning.lessons(source, images.pixels, codes, np.arange(15), ("bright", "dark"))
    through, heavier, plain, heavy = (
        one.taught(source, lessons, name, Run.none()).scored.network.state_dict()
        for one, name in (
            (tuning, THROUGH),
            (replace(tuning, weight=5.0), THROUGH),
            (tuning, PLAIN),
            (replace(tuning, weight=5.0), PLAIN),
        )
    )
    untouched = source.scored.network.state_dict()
    for name in ("stages.0.0.0.weight", "stages.1.0.0.weight", "stages.0.0.1.bias"):
        assert not torch.equal(through[name], untouched[name])
        assert not torch.equal(plain[name], untouched[name])
    first = "stages.0.0.0.weight"
    assert not torch.equal(through[first], plain[first])
    assert not torch.equal(through[first], heavier[first])
    assert all(torch.equal(one, heavy[name]) for name, one in plain.items())  # the weight is that of the second term
    for name in ("stages.0.0.1.running_mean", "stages.0.0.1.running_var"):
        assert torch.equal(through[name], untouched[name])


def test_labels_weigh_alike_however_many_pictures_they_have():
    images, _ = striped(24)
    source, codes = mixing(), np.repeat([0, 1], [18, 6])
    tuning = TunedConcepts(**SMALL | {"rows": 24}).tuning
    lessons = tuning.lessons(source, images.pixels, codes, np.arange(24), ("x", "y"))
    network = beginning(source, lessons)
    loss = tuning.begun(source, lessons, network, PLAIN)[1](0).value
    with torch.no_grad():
        wrong = -network.logits(images.pixels, HEAD).log_softmax(1)[torch.arange(24), torch.from_numpy(codes)]
    assert loss == pytest.approx(float((wrong[:18].mean() + wrong[18:].mean()) / 2), rel=1e-5)


def test_what_cannot_be_trained_is_refused():
    images, labels = feature_scenes.labelled()
    rows = TabledFeatures(images.names, np.eye(15))
    with pytest.raises(
        BadInput, match="this method trains the network that features are of, so it needs one that it can"
    ):
        TunedConcepts(**SMALL)(rows, images, "light", labels["light"])
    images, labels = striped(30)
    with pytest.raises(IntaglioError, match="made the features of all pictures alike; give a lower --learning-rate"):
        TunedConcepts(**SMALL | {"learning_rate": 1e3})(mixing(), images, "colour", labels)
