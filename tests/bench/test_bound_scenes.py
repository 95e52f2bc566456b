import pytest
import torch

from exact_draws import ExactMixture
from intaglio.bench.sample import bound_scenes
from intaglio.bench.sample.bound_scenes import bound_scene_figures
from intaglio.images.image_set import ImageSet
from intaglio.sampling.methods.compose import Compose
from intaglio.sampling.scenes.recognition import SceneCheck

NOBODY = ExactMixture(torch.zeros(1, 1, 1, 1), torch.ones(1), {"": [0.0]})
"""Stands in for a model that is not asked."""


def check(bound, correct=False):
    return SceneCheck((True, True), (bound, True), (bound, True), placed=correct, counted=True)


def test_figures_are_counts_of_what_the_parser_found(monkeypatch):
    """Of 8 pictures plain sampling binds the first 3, compose the first 4, and a second plain draw the last 3."""

    def drawn(model, captions, seeds, method, steps):
        assert len(captions) == len(seeds) == 8
        assert len(set(captions)) > 1
        second, again = seeds[0] == 8, getattr(method, "again", False)
        if method.name == "plain":
            return [check(k >= 5, k == 7) if second else check(k < 3) for k in range(8)], 10.0
        return [check(k < (6 if again else 4), again) for k in range(8)], 16.0 + 18.0 * again

    monkeypatch.setattr(bound_scenes, "_drawn", drawn)
    figures = bound_scene_figures(NOBODY, quick=True, seed=0)
    assert figures["plain_bound"] == 3 / 8
    assert figures["compose_bound"] == 4 / 8
    assert figures["compose_again_bound"] == 6 / 8
    assert figures["best_of_two_bound"] == 6 / 8
    assert figures["plain_correct"] == 0
    assert figures["compose_again_correct"] == 6 / 8
    assert figures["best_of_two_correct"] == 1 / 8
    assert figures["best_of_two_calls"] == 20
    assert figures["compose_gain"] == pytest.approx(1 / 8)
    assert figures["compose_gain_low"] <= 1 / 8


def test_a_gradient_counts_as_two_calls(monkeypatch):
    def sampled(model, captions, seeds, calls, **options):
        calls.forward, calls.backward = 7 * len(captions), 3 * len(captions)
        return ImageSet.from_pixels(torch.ones(len(captions), 3, 64, 64))

    monkeypatch.setattr(bound_scenes, "sample", sampled)
    captions = ["a red circle and a blue square"] * 2
    checks, calls = bound_scenes._drawn(NOBODY, captions, [0, 1], Compose(), 5)
    assert calls == 7 + 2 * 3
    assert not any(one.counted for one in checks)
