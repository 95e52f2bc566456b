"""Readable heads as a whole: features of places, folds beside a linear head, what is told and warned of."""

import numpy as np
import pytest
import torch

import explain_scenes
import feature_scenes
from intaglio.explain.heads.concept_reading import SPARSITIES
from intaglio.explain.heads.methods.concept_head import ConceptHead
from intaglio.explain.heads.methods.gated_places import GatedPlaces
from intaglio.explain.heads.methods.linear_head import LinearHead
from intaglio.explain.heads.methods.rule_tree import RuleTree
from intaglio.explain.heads.place_features import place_features, places_name
from intaglio.explain.picture_features import EncodedFeatures, LayerFeatures, TabledFeatures
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.encoder import Encoder
from intaglio.metrics.similarity.measures import Embedding, ResizingEncoder

FEW = {"folds": 3, "strengths": (0.1,)}


def test_places_are_a_layers_maps_over_a_grid_row_by_row():
    images, _ = feature_scenes.labelled(3)
    scored = explain_scenes.untrained()
    found = place_features(LayerFeatures(scored, "stages.0"), images, 2)
    with torch.no_grad():
        maps = scored.network.stages[0](1 - images.pixels)
    expected = maps.reshape(3, -1, 2, 4, 2, 4).mean((3, 5))
    torch.testing.assert_close(found, expected.flatten(2).transpose(1, 2))
    torch.testing.assert_close(found[1, 2], expected[1, :, 1, 0])
    # without a layer, the mean of the places is what the head takes
    last = place_features(LayerFeatures(scored), images, 16)
    torch.testing.assert_close(last.mean(1), scored.features(images.pixels))


def test_places_of_our_encoder_are_its_coarsest_maps_and_of_others_the_picture():
    images = ImageSet.from_pixels(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    network = Encoder((4, 6, 8), 5).eval()
    ours = Embedding("ours", "0" * 64, ResizingEncoder(network), torch.device("cpu"))
    found = place_features(EncodedFeatures(ours), images, 8)
    with torch.no_grad():
        maps = network.coarse(network.middle(network.stem(1 - images.pixels)))
    torch.testing.assert_close(found, maps.flatten(2).transpose(1, 2))
    other = Embedding("other", "0" * 64, lambda pixels: pixels.mean((2, 3)), torch.device("cpu"))
    assert place_features(EncodedFeatures(other), images, 8).shape == (2, 1, 3)
    assert places_name(EncodedFeatures(ours)) == f"the coarsest maps of the encoder {ours.name}"
    assert places_name(EncodedFeatures(other)) == EncodedFeatures(other).name


def tabled(values: np.ndarray, seed: int = 0):
    """Pictures that stand for rows of features."""
    pixels = torch.rand(len(values), 3, 2, 2, generator=torch.Generator().manual_seed(seed))
    images = ImageSet.from_pixels(pixels, [f"{k:03d}" for k in range(len(values))])
    return TabledFeatures(images.names, values), images


def test_a_head_is_compared_with_the_linear_one_on_the_same_folds():
    random = np.random.default_rng(0)
    rows = random.uniform(-1, 1, (120, 2))
    texts = ["odd" if one else "even" for one in (np.abs(rows[:, 0]) > 0.5)]  # no line tells it, two thresholds do
    source, images = tabled(rows)
    found = RuleTree(depth=3, **FEW)(source, images, "kind", texts)
    assert found.accuracy > 0.9 > 0.75 > found.linear_accuracy
    assert found.difference_interval[0] > 0.1
    linear = LinearHead(**FEW)(source, images, "kind", texts)
    assert (linear.names, linear.folds.tolist()) == (found.names, found.folds.tolist())
    assert linear.predicted.tolist() == found.linear.tolist() == linear.linear.tolist()
    assert (linear.difference, linear.difference_interval, linear.iis) == (0.0, (0.0, 0.0), None)
    assert [row["pictures"] for row in found.rows()] == [texts.count("even"), texts.count("odd")]
    back = list(range(120))[::-1]
    turned = RuleTree(depth=3, **FEW)(source, images[back], "kind", texts[::-1])
    assert (turned.rows(), turned.head) == (found.rows(), found.head)


def test_no_score_of_interpretability_is_told_where_the_linear_head_guesses():
    rows = np.random.default_rng(0).standard_normal((60, 12))
    coin = [str(k // 3 % 2) for k in range(60)]
    found = ConceptHead(concepts=12, **FEW)(*tabled(rows), "coin", coin)
    assert (found.iis, found.iis_interval, found.figures()["iis_of_most"]) == (None, None, None)
    assert found.linear_accuracy < 0.75
    told = " ".join(found.warnings)
    assert "less than 1.5 times a guess, 0.50, so that no interpretability score is told" in told
    assert "coin is named right for" in told


def test_a_score_that_is_told_has_its_interval_around_it():
    truth = np.arange(80) % 4
    rows = np.eye(60)[truth] + 0.02 * np.random.default_rng(0).standard_normal((80, 60))
    found = ConceptHead(concepts=30, **FEW)(*tabled(rows), "kind", [str(one) for one in truth])
    low, high = found.iis_interval
    assert low <= found.iis <= high
    shares = np.array(found.level_accuracies) / found.linear_accuracy
    assert found.iis == pytest.approx(np.sum(np.diff(SPARSITIES) * (shares[1:] + shares[:-1]) / 2))
    assert found.size <= 30 - 27 - 1 + 1e-9  # at sparsity 0.9 of 30, those above place 27


def test_gates_are_told_of_the_places_of_a_grid():
    images, labels = feature_scenes.labelled(18)
    method = GatedPlaces(side=2, steps=5, **FEW)
    found = method(LayerFeatures(explain_scenes.untrained(), "stages.0"), images, "light", labels["light"])
    assert (found.places, found.size) == (4, 4.0)
    assert all(len(gates) == 4 for _, gates in found.head.gates)
