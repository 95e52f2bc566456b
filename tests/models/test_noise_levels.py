"""A classifier that is told the noise level: its maps by hand, what it makes of levels, its file."""

from math import log, pi

import pytest
import torch
from torch.nn.functional import conv2d

from certify_scenes import HEAD, classifier
from intaglio.errors import BadInput
from intaglio.models import testbed
from intaglio.models.classifiers import PictureClassifier, load_classifier, new_classifier, save_classifier
from intaglio.models.noise_levels import NoiseLevels

PIXELS = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_maps_are_scaled_and_shifted_by_the_level_after_their_normalisation():
    net = classifier(levels=True)
    state, maps = net.state_dict(), 1 - PIXELS
    place = torch.tensor([0.25, 0.5, 1.0]).mul(2 / 0.002).log() / log(80 / 0.002)
    angles = pi * place[:, None] * torch.tensor([1.0, 2.0, 4.0, 8.0])
    inner = torch.cat([angles.sin(), angles.cos()], 1) @ state["levels.inward.weight"].T + state["levels.inward.bias"]
    told = (inner * inner.sigmoid()) @ state["levels.outward.weight"].T + state["levels.outward.bias"]
    for name, part in (("0.0", told[:, :8]), ("1.0", told[:, 8:])):
        maps = conv2d(maps, state[f"stages.{name}.0.weight"], stride=2, padding=1) / (1 + 1e-5) ** 0.5  # untrained norm
        scale, shift = part[:, :, None, None].chunk(2, 1)
        maps = (maps * (1 + scale) + shift).relu()
    by_hand = maps.mean((2, 3)) @ state["heads.kind.weight"].T
    assert torch.allclose(net.logits(PIXELS, HEAD, torch.tensor([0.25, 0.5, 1.0])), by_hand, atol=1e-4)


def test_a_level_changes_the_logits_and_none_is_no_noise():
    net = classifier(levels=True)
    quiet, loud = (net.logits(PIXELS, HEAD, sigma) for sigma in (0.1, 0.5))
    assert not torch.allclose(quiet, loud, atol=1e-2)
    assert torch.equal(net.logits(PIXELS, HEAD), net.logits(PIXELS, HEAD, 0.0))
    mixed = net.logits(PIXELS, HEAD, torch.tensor([0.1, 0.5, 0.1]))
    assert torch.allclose(mixed, torch.stack([quiet[0], loud[1], quiet[2]]), atol=1e-5)
    with pytest.raises(BadInput, match="takes no noise level"):
        classifier().logits(PIXELS, HEAD, 0.1)


def test_a_new_one_makes_nothing_of_levels_and_has_the_plain_ones_stages():
    told, plain = (new_classifier({HEAD: ("a", "b")}, 0, (4,), (2,), levels=levels).eval() for levels in (True, False))
    assert torch.equal(told.logits(PIXELS, HEAD, 0.5), plain.logits(PIXELS, HEAD))
    assert isinstance(told.levels, NoiseLevels)
    assert told.levels.maps == (4, 4)


def test_its_file_has_a_mark_of_its_own_and_is_read_where_levels_are_wanted(tmp_path):
    net, path = classifier(levels=True), tmp_path / "net.safetensors"
    save_classifier(net, path)
    read = load_classifier(path, levels=True)
    assert isinstance(read, PictureClassifier)
    assert torch.allclose(read.logits(PIXELS, HEAD, 0.5), net.logits(PIXELS, HEAD, 0.5), atol=2e-2)
    assert torch.equal(read.levels.outward.weight, net.levels.outward.weight.half().float())
    with pytest.raises(BadInput, match="holds a classifier that is told the level of the noise"):
        load_classifier(path)


def test_the_embedded_two_know_kinds_through_noise_that_the_other_does_not():
    """On the shipped pictures of subjects that they never saw."""
    images, labels = testbed.held_out_pictures()
    told, plain, clean = testbed.noise_classifier(), testbed.noise_classifier(told=False), testbed.classifier()
    assert told.classes == plain.classes == clean.classes
    assert (told.widths, told.repeats) == (plain.widths, plain.repeats)
    assert testbed.noise_classifier_path().stat().st_size < 450_000
    truth = torch.tensor([told.classes[HEAD].index(one[HEAD]) for one in labels[::3]])
    clear = images.pixels[::3]
    noisy = clear + 0.25 * torch.randn(clear.shape, generator=torch.Generator().manual_seed(0))
    right = [
        int((logits.argmax(1) == truth).sum())
        for logits in (told.logits(noisy, HEAD, 0.25), plain.logits(noisy, HEAD), clean.logits(noisy, HEAD))
    ]
    assert min(right[:2]) > right[2] + 10
