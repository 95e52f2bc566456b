import numpy as np
import pytest
import torch

from exact_draws import ExactMixture
from intaglio.bench.sample import led_classes
from intaglio.bench.sample.led_classes import led_class_figures
from intaglio.bench.sample.trained_rows import TrainedParts
from intaglio.images.image_set import ImageSet

NOBODY = ExactMixture(torch.zeros(1, 1, 1, 1), torch.ones(1), {"": [0.0]})
"""Stands in for a model that is not asked."""


class Judge:
    """Knows a picture's artist by its first channel."""

    artists, names = ("a", "b", "c"), ("fox",)

    def log_probabilities(self, pixels):
        told = (pixels[:, 0, 0, 0] * 10).round().long().numpy()
        return np.log(np.eye(3)[told] + 1e-3), np.zeros((len(pixels), 1))


class Encoder:
    def embed(self, pixels):
        return torch.cat([pixels.mean((2, 3)), torch.ones(len(pixels), 3)], 1)


def test_accuracy_is_the_share_of_the_artist_that_each_picture_was_led_to(monkeypatch, tmp_path):
    """Five experts lead all to their artist, one expert and none lead all to the first."""
    asked, noises = [], []

    def part(self, name, **settings):
        asked.append(settings)
        return tmp_path / f"{settings['experts']}.safetensors"

    def led(parts, method, first, count):
        assert method.target in asked[0]["classes"]
        place = asked[0]["classes"].index(method.target)
        noises.extend(range(first, first + count))
        led_to = place if method.part.stem == "5" and method.strength else 0
        return torch.full((count, 3, 2, 2), led_to / 10) + torch.arange(count)[:, None, None, None] * 1e-3

    monkeypatch.setattr(TrainedParts, "part", part)
    monkeypatch.setattr(led_classes, "_led", led)
    monkeypatch.setattr(led_classes, "embedded_attributes", lambda encoder, half: Judge())
    monkeypatch.setattr(led_classes, "embedded_encoder", lambda device: Encoder())
    pictures = ImageSet.from_pixels(torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    parts = TrainedParts(NOBODY, pictures, tmp_path, True, 0, "cpu", "none")
    figures = led_class_figures(parts, quick=True, seed=0)
    assert noises == 3 * list(range(6)), "each row has the same noises, and no picture of a row that of another"
    assert figures["ppap_accuracy"] == 1.0
    assert figures["ppap_one_accuracy"] == figures["unled_accuracy"] == pytest.approx(1 / 3)
    assert [one["experts"] for one in asked] == [5, 1]
    assert asked[0]["classes"] == tuple(f"attributes:0=fox, {artist}" for artist in "abc")
