"""Times of certificates and of private trainings, by hand."""

import pytest
import torch

import certify_scenes
import private_scenes
from intaglio.images.image_set import ImageSet
from intaglio.protect.certify import cost as certified
from intaglio.protect.certify.methods.smoothing import Smoothing
from intaglio.protect.private import cost as private
from intaglio.protect.private.methods.without_privacy import WithoutPrivacy


def test_noisy_copies_of_all_pictures_take_their_share_of_a_batch(monkeypatch):
    called = []

    def second(call, device):
        call()
        return 1.0

    monkeypatch.setattr(certified, "seconds_of", second)
    monkeypatch.setattr(
        Smoothing, "called", lambda self, network, head, noisy: called.append(len(noisy)) or noisy[:, 0, 0]
    )
    images = ImageSet.from_pixels(torch.ones(3, 3, 16, 16))
    plan = certified.certify_plan(Smoothing(first=20, votes=80, batch=10), certify_scenes.classifier(), "kind", images)
    assert plan.seconds == pytest.approx(30)  # three pictures of 100 copies, ten a second
    few = certified.certify_plan(Smoothing(first=2, votes=6, batch=10), certify_scenes.classifier(), "kind", images)
    assert few.seconds == pytest.approx(3)  # eight are one batch
    assert called == [10, 8]


def test_a_private_training_takes_its_preparation_once_and_every_step(monkeypatch):
    scene = private_scenes.small_classifier(), "private", private_scenes.classes()
    took = iter([5.0, 8.0])
    monkeypatch.setattr(private, "seconds_of", lambda call, device: next(took))
    plan = private.private_plan(WithoutPrivacy(steps=101), *scene)
    assert plan.parts == {"preparation": 5.0, "steps": pytest.approx(100)}  # 3 s for three further steps
