import pytest
import torch

import feature_scenes
from intaglio.explain.features import family
from intaglio.explain.features.feature_cells import ProbedNetworks
from intaglio.explain.features.methods.pixels import PixelProbe
from intaglio.explain.probe_scores import balanced_accuracy, plain_answers
from intaglio.runs.picture_batches import content_order

SMALL = {"folds": 3, "strengths": (0.1,), "shuffles": 3, "batch": 8}
BAD = {"folds": 2}
PIECES = {"batch": 4}


def test_features_are_means_over_squares_of_each_colour():
    images, _ = feature_scenes.labelled(3)
    found = PixelProbe(side=4).read(ProbedNetworks(), images)
    (rows,) = found.values.values()
    assert found.names == images.names
    assert content_order(images) != [0, 1, 2]  # in which they are read
    expected = images.pixels.reshape(3, 3, 4, 4, 4, 4).mean((3, 5)).flatten(1)
    torch.testing.assert_close(rows, expected)


def test_a_label_that_is_in_the_pixels_is_read_and_chance_is_measured():
    images, labels = feature_scenes.labelled(30)
    found = PixelProbe(shuffles=9, folds=3, side=2)(ProbedNetworks(), images, labels)
    (light,) = found.labels
    assert (light.column, light.classes, light.counts) == ("light", ("bright", "dark"), (10, 20))
    assert (light.accuracy, light.accuracies, light.recalls) == (1.0, (1.0,), (1.0, 1.0))
    assert light.p == pytest.approx(0.1)
    assert light.chance == pytest.approx(0.5, abs=0.15)
    assert light.best_by_chance == pytest.approx(light.chance)  # there is one cell


def test_a_label_that_is_not_in_the_pixels_is_said_to_be_read_by_chance():
    images, _ = feature_scenes.labelled(30)
    coin = {"coin": [str(k // 2 % 2) for k in range(30)]}
    found = PixelProbe(shuffles=4, folds=3, strengths=(0.1,))(ProbedNetworks(), images, coin)
    assert found.labels[0].p > 0.05
    assert any("coin is named no better than shuffled labels" in one for one in found.warnings)
    (told,) = PixelProbe(shuffles=0, folds=3, strengths=(0.1,))(ProbedNetworks(), images, coin).warnings
    assert "nothing says how often coin would be named right by chance" in told


def test_the_accuracy_is_that_of_the_saved_features_whatever_the_order_of_the_pictures():
    images, labels = feature_scenes.labelled(24)
    probe = PixelProbe(side=1, strengths=(0.01,), shuffles=2)
    found = probe(ProbedNetworks(), images, labels)
    (light,) = found.labels
    (rows,) = probe.read(ProbedNetworks(), images).values.values()
    place = [images.names.index(name) for name in light.names]
    answers = plain_answers(rows[place].double().numpy(), light.truth, light.folds, 0.01)
    assert found.rows()[0]["accuracy"] == balanced_accuracy(light.truth, answers)
    back = list(range(24))[::-1]
    turned = probe(ProbedNetworks(), images[back], {name: one[::-1] for name, one in labels.items()})
    assert turned.rows() == found.rows()


def test_shuffles_keep_groups_together(monkeypatch):
    images, labels = feature_scenes.labelled(30)
    groups, orders = [one * 3 for one in labels["light"]], []  # pictures of a label are in few groups
    groups = [f"{one}{k % 5}" for k, one in enumerate(groups)]
    whole = family.shuffled

    def noted(truth, given, seed, number):
        found = whole(truth, given, seed, number)
        orders.append((found, given))
        return found

    monkeypatch.setattr(family, "shuffled", noted)
    PixelProbe(shuffles=2, folds=3, strengths=(0.1,))(ProbedNetworks(), images, labels, groups)
    assert len(orders) == 2
    for order, given in orders:
        assert len(set(given.tolist())) == 10
        assert all(len(set(order[given == one].tolist())) == 1 for one in set(given.tolist()))
