"""The bench of concepts: its questions by hand, and its rows end to end on a small scene."""

import json

import numpy as np
import pytest
import torch

from explain_scenes import classifier, pictures
from intaglio.bench.concepts import bench, concept_questions
from intaglio.bench.concepts.bench import ConceptsBench
from intaglio.bench.concepts.concept_questions import matched_cosine, part_purities, purity, recovery, removal_area
from intaglio.explain.concepts.concept_parts import Division
from intaglio.explain.concepts.methods.channels import ChannelConcepts
from intaglio.explain.concepts.methods.craft import CRAFT
from intaglio.models import testbed
from intaglio.models.scored_network import classifier_score


def test_atoms_are_matched_one_to_one_without_their_signs():
    atoms = np.eye(3)
    assert matched_cosine(-np.eye(3)[[2, 0, 1]], atoms) == pytest.approx(1)
    twice = np.array([[1.0, 0, 0], [1.0, 0, 0], [0, 0.6, 0.8]])  # the second atom has the last direction or none
    assert matched_cosine(twice, atoms) == pytest.approx((1 + 0 + 0.8) / 3)


def test_planted_atoms_are_found_by_a_factorisation_and_not_by_single_channels():
    assert recovery(CRAFT(count=5), 0) > 0.99
    assert recovery(ChannelConcepts(count=5), 0) < 0.8


class Given(ChannelConcepts):
    """Whose concepts are the channels, in their order."""

    def bank(self, features):
        return np.eye(features.shape[1])

    def codes(self, features, bank):
        return features @ bank.T


def test_purity_is_the_excess_of_the_best_label_over_pictures_not_crops(monkeypatch):
    monkeypatch.setattr(concept_questions, "SHOWN", 2)
    monkeypatch.setattr(concept_questions, "FIRST", 1)
    features = np.array([[9.0, 0], [8, 0], [7, 0], [1, 1], [1, 1]])  # the first three crops are of two pictures
    places, labels = [0, 0, 1, 2, 3], ["cat", "cat", "dog", "dog"]
    assert purity(Given(), features, places, labels) == pytest.approx(1 - 0.5)
    assert purity(Given(), features, places, ["cat", "dog", "dog", "dog"]) == pytest.approx(0.5 - 0.25)


def test_parts_are_judged_by_the_commonest_label_of_each_beside_random_ones():
    """Twenty crops with most of channel 0 are of cats and dogs, which channels 1 and 2 of the earlier layer tell."""
    animals = ["cat", "dog"] * 10
    features = np.zeros((210, 2))
    features[:20, 0] = np.linspace(3, 2, 20)
    features[20:, 1] = 1
    early = np.zeros((210, 2))
    early[np.arange(20), [int(one == "dog") for one in animals]] = 1
    early[20:, 1] = 1
    pictures = [*range(20), *range(20, 210)]
    pictures[1] = 0  # a second crop of the first picture, whose first crop counts
    labels = animals + ["other"] * 190
    found = part_purities(Given(count=2), Division(1, 2, ""), features, early, pictures, labels, 0)
    assert found["whole"][0] == pytest.approx(10 / 19)  # the first is the widest: the other channel's crops are alike
    assert found["parts"][0] == 1
    assert found["same_layer"][0] == pytest.approx(10 / 19)
    assert 0.5 < found["by_chance"][0] < 0.75
    assert len(found["whole"]) == 2


def test_removal_by_hand(monkeypatch):
    """Two concepts of weights 3 and 1: without the first a quarter of the score is left."""
    scored, images = classifier_score(classifier(), "kind", side=16), pictures(2)
    monkeypatch.setattr(concept_questions, "layer_maps", lambda *given: torch.ones(1, 2, 1, 1))
    weights = torch.tensor([3.0, 1.0])
    monkeypatch.setattr(
        concept_questions, "scores_with_maps", lambda s, la, p, maps, *t: (maps[:, :, 0, 0] @ weights).double().numpy()
    )
    first = removal_area(scored, "stages.0", images, 0, Given(), torch.eye(2))
    assert first == pytest.approx([(1 + 0.25) / 4 + (0.25 + 0) / 4] * 2)
    last = removal_area(scored, "stages.0", images, 0, Given(), torch.eye(2)[[1, 0]])
    assert last == pytest.approx([(1 + 0.75) / 4 + 0.75 / 4] * 2)
    monkeypatch.setattr(concept_questions, "scores_with_maps", lambda *given: np.zeros(3))
    assert removal_area(scored, "stages.0", images, 0, Given(), torch.eye(2)) == []


def test_rows_end_to_end_and_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    own = bench.default_methods
    small = {"count": 3, "points": 4, "parts": 2}
    monkeypatch.setattr(bench, "default_methods", lambda verb, **given: own(verb, **small, **given))
    monkeypatch.setattr(bench, "PLANTED", 1)
    monkeypatch.setattr(bench, "COUNT", 4)
    monkeypatch.setattr(testbed, "classifier", classifier)
    monkeypatch.setattr(testbed, "real_pictures", lambda: pictures(4))
    monkeypatch.setattr(testbed, "held_out_pictures", lambda: (pictures(4), [{"kind": "a"}, {"kind": "b"}] * 2))
    asked, ask = [], bench.measured

    def stopping(*given):
        asked.append(given[0].name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(*given)

    monkeypatch.setattr(bench, "measured", stopping)
    one = ConceptsBench(quick=True, runs=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        one(progress="none")
    found = one(progress="none")
    assert len(asked) == 1 + len(found["rows"])
    assert found["craft_recovery"] == found["rows"]["craft"]["recovery"] > 0.9
    assert json.dumps(found)
    assert found["rows"]["channels"]["parts"] is None
    assert set(found["rows"]["craft"]["parts"]) == {"all", "widest"}
    assert "craft, widest" in one.summary(found)
