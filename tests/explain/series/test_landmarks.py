"""Landmarks of planted clusters, a move by hand, and the purity of groups."""

from math import comb

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from intaglio.explain.series import landmarks as room
from intaglio.explain.series.landmarks import Landmarks, landmarks_of, nearest_landmarks

GROUPED = Landmarks(np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.9, 0.5, 0.2, 0.3]))


def test_landmarks_are_the_means_of_planted_clusters_and_each_series_has_the_nearest():
    centres = torch.tensor([[4.0, 0, 0], [0, 4, 0], [0, 0, 4], [9, 9, 9]])
    truth = torch.tensor([0] * 60 + [1] * 30 + [2] * 15)
    source = torch.Generator().manual_seed(0)
    embeddings = centres[3] + centres[truth] + 0.1 * torch.randn(105, 3, generator=source)
    asked = [*range(0, 4), *range(60, 90), *range(90, 105, 2)]
    found = nearest_landmarks(embeddings, truth, embeddings[asked], 8, 0)
    assert found.counts.tolist() == [30, 8, 4]  # eight were asked for: those alike are one
    assert found.places.tolist() == [2] * 4 + [0] * 30 + [1] * 8
    assert found.purity(truth[asked].numpy()) == 1
    units = normalize(embeddings - embeddings.mean(0), dim=1)
    kept = landmarks_of(units, truth, 8, 0)
    for k, one in enumerate(kept):
        assert float(one @ normalize(units[truth == k].mean(0), dim=0)) > 0.99
    assert found.cosines == pytest.approx((units[asked] @ kept.T).amax(1).double().numpy(), abs=1e-6)


def test_a_move_goes_to_the_mean_of_those_drawn_by_the_softmax_of_cosines_over_a_hundredth(monkeypatch):
    """Two directions of cosine 0.98: a vector on one is assigned to the other with probability 1 / (1 + e^2)."""
    monkeypatch.setattr(room, "STEPS", 1)
    monkeypatch.setattr(room, "RATE", 0.5)
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.98, np.sqrt(1 - 0.98**2)]).float()
    units, codes = torch.stack([first, second]).repeat(8000, 1), torch.tensor([0, 1]).repeat(8000)
    other = 1 / (1 + np.exp(2))
    wanted = [
        normalize(0.5 * a + 0.5 * ((1 - other) * a + other * b), dim=0) for a, b in ((first, second), (second, first))
    ]
    found = landmarks_of(units, codes, 2, 0)
    for one in wanted:
        assert (found - one).norm(dim=1).min() < 0.002


def test_equal_vectors_have_one_landmark():
    units = normalize(torch.tensor([[1.0, 0.0]] * 9 + [[0.0, 1.0]]), dim=1)
    assert len(landmarks_of(units, torch.zeros(10).long(), 10, 0)) == 2


def test_landmarks_merge_that_are_closer_than_vectors_are_to_them(monkeypatch):
    monkeypatch.setattr(room, "STEPS", 0)
    middles = torch.tensor([0.0, 0.45, 1.5])  # directions by angle
    around = torch.tensor([-0.3, 0.0, 0.3])
    angles = (middles[:, None] + around).flatten()
    units = torch.stack([angles.cos(), angles.sin()], 1)
    monkeypatch.setattr(room, "_starts", lambda codes, count, source: [1, 4, 7])
    # Vectors are within 1 - cos 0.3 = 0.045 of their landmarks, 0.03 in the mean; the first two are 0.1 apart.
    assert len(landmarks_of(units, torch.zeros(9).long(), 3, 0)) == 3
    middles[1] = 0.2  # 0.02 apart
    angles = (middles[:, None] + around).flatten()
    units = torch.stack([angles.cos(), angles.sin()], 1)
    kept = landmarks_of(units, torch.zeros(9).long(), 3, 0)
    assert len(kept) == 2
    assert float((kept @ units[7]).max()) == pytest.approx(1)


def test_purity_is_the_share_of_the_most_frequent_class_and_is_held_against_chance():
    codes = np.array([0, 0, 1, 1, 1])
    assert GROUPED.purity(codes) == pytest.approx(4 / 5)
    assert GROUPED.nearest(0) == 1
    assert GROUPED.nearest(1) == 4
    assert Landmarks(np.zeros(5, int), np.ones(5)).purity_by_chance(codes) == pytest.approx(3 / 5)
    assert Landmarks(np.arange(5), np.ones(5)).purity_by_chance(codes) == 1


def test_chance_is_a_mean_over_shuffles():
    found = Landmarks(np.arange(40) // 4, np.ones(40))
    codes = np.arange(40) % 2
    pairs = [max(k, 4 - k) for k in range(5)]  # of a landmark of four, by its series of the first class
    shares = [comb(20, k) * comb(20, 4 - k) / comb(40, 4) for k in range(5)]
    expected = sum(one * share for one, share in zip(pairs, shares, strict=True)) / 4
    assert found.purity_by_chance(codes) == pytest.approx(expected, abs=0.02)
