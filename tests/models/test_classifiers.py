"""The small classifier: its maps by hand, its file, and files that are none."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import BatchNorm2d, ReLU
from torch.nn.functional import batch_norm, conv2d

from intaglio.errors import BadInput
from intaglio.models import testbed
from intaglio.models.classifiers import load_classifier, new_classifier, save_classifier

HEADS = {"kind": ("cat", "dog", "hen"), "artist": ("a", "b")}
SMALL = ((4, 6), (2, 1))


@pytest.fixture
def classifier():
    found = new_classifier(HEADS, 3, *SMALL)
    with torch.no_grad():
        for module in found.modules():
            if isinstance(module, BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(1))
                module.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    return found.eval()


def test_the_logits_are_those_of_the_layers_by_hand(classifier):
    pixels = torch.rand(2, 3, 20, 16, generator=torch.Generator().manual_seed(0))
    state, maps = classifier.state_dict(), 1 - pixels
    for name, stride in (("0.0", 2), ("0.1", 1), ("1.0", 2)):
        norm = f"stages.{name}.1"
        maps = conv2d(maps, state[f"stages.{name}.0.weight"], stride=stride, padding=1)
        mean, var = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        maps = batch_norm(maps, mean, var, state[f"{norm}.weight"], state[f"{norm}.bias"]).relu()
    found = classifier(pixels)
    for head, classes in HEADS.items():
        by_hand = maps.mean((2, 3)) @ state[f"heads.{head}.weight"].T + state[f"heads.{head}.bias"]
        assert by_hand.shape == (2, len(classes))
        assert torch.allclose(found[head], by_hand, atol=1e-5)
        assert torch.equal(classifier.logits(pixels, head), found[head])
    assert torch.allclose(classifier.features(pixels), maps.mean((2, 3)), atol=1e-5)
    assert sum(isinstance(module, ReLU) for module in classifier.modules()) == 3
    with pytest.raises(BadInput, match="no head 'age'; choose one of: kind, artist"):
        classifier.logits(pixels, "age")


def test_weights_follow_from_the_seed_and_move_no_global_state():
    before = torch.get_rng_state()
    one, same, other = (new_classifier(HEADS, seed, *SMALL).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["stages.0.0.0.weight"], other["stages.0.0.0.weight"])


def test_it_is_saved_in_half_precision_and_read_again(classifier, tmp_path):
    path = tmp_path / "c.safetensors"
    save_classifier(classifier, path, {"steps": "7"})
    read = load_classifier(path)
    assert (read.classes, read.widths, read.repeats) == (HEADS, *SMALL)
    assert not read.training
    assert not any(weight.requires_grad for weight in read.parameters())
    for key, value in classifier.state_dict().items():
        assert torch.equal(read.state_dict()[key], value.half().float() if value.dim() > 1 else value), key


def test_convolutions_in_eight_bits_are_within_half_a_step_of_each_map(classifier, tmp_path):
    path = tmp_path / "c.safetensors"
    save_classifier(classifier, path, eight_bits=True)
    assert load_file(path)["stages.1.0.0.weight"].dtype == torch.int8
    read = load_classifier(path).state_dict()
    for key, value in classifier.state_dict().items():
        if value.dim() == 4:
            step = value.abs().flatten(1).amax(1) / 127
            assert ((read[key] - value).abs().flatten(1).amax(1) <= step * 0.5001).all(), key
            assert not torch.equal(read[key], value)


@pytest.mark.parametrize(
    ("about", "tensors", "words"),
    [
        ({"architecture": "other"}, {}, "does not say in its metadata that it is a intaglio-classifier-1"),
        ({"widths": "[4000000000, 6]"}, {}, "is damaged: its tensors do not fit its metadata"),
        ({"widths": "[4096, 4096]"}, {}, r"is damaged: .* \(stages.0.0.0.weight\)"),
        ({"repeats": "[1]"}, {}, "is damaged"),
        ({"repeats": "{"}, {}, "c.safetensors"),
        ({"heads": '{"kind": "ab"}'}, {}, "is damaged"),
        ({"heads": '{"a.b": ["x", "y"]}'}, {}, "is damaged"),
        ({"heads": json.dumps({"kind": ["cat", "dog", "hen"]})}, {}, r"is damaged: .* \(heads.artist.bias\)"),
        ({}, {"heads.kind.bias": torch.tensor([0.0, float("nan"), 0.0])}, r"NaN or infinity \(heads.kind.bias\)"),
        ({}, {"heads.kind.bias": torch.zeros(3, dtype=torch.int8)}, "quantized weights"),
        ({}, {"stages.0.0.0.weight.scale": torch.ones(4)}, r"is damaged: .* \(stages.0.0.0.weight.scale\)"),
        ({}, {"stages.0.0.0.weight": torch.ones(4, 3, 3, 3, dtype=torch.int8)}, "quantized weights"),
    ],
)
def test_files_that_lie_are_refused(classifier, tmp_path, about, tensors, words):
    path = tmp_path / "c.safetensors"
    save_classifier(classifier, path)
    whole = {"architecture": "intaglio-classifier-1", "heads": json.dumps(HEADS), "widths": "[4, 6]"}
    save_file({**load_file(path), **tensors}, path, {**whole, "repeats": "[2, 1]", **about})
    with pytest.raises(BadInput, match=words):
        load_classifier(path)


def test_pickles_and_missing_files_are_refused(tmp_path):
    torch.save({"a": 1}, tmp_path / "c.safetensors")
    with pytest.raises(BadInput, match="holds pickled classifier"):
        load_classifier(tmp_path / "c.safetensors")
    with pytest.raises(BadInput, match="does not exist"):
        load_classifier(tmp_path / "d.safetensors")


def test_the_embedded_one_tells_artists_and_kinds():
    """Of pictures most of which it was trained on; figures on held-out subjects are in its card."""
    classifier, real = testbed.classifier(), testbed.real_pictures()
    assert {head: len(classes) for head, classes in classifier.classes.items()} == {"kind": 9, "artist": 4}
    assert testbed.classifier_path().stat().st_size < 450_000
    said = classifier.logits(real.pixels, "artist").argmax(1).tolist()
    artists = [(caption or "").rpartition(", ")[2].removesuffix(" style") for caption in real.captions]
    assert sum(classifier.classes["artist"][k] == artist for k, artist in zip(said, artists, strict=True)) >= 323
    faces = testbed.few_shot("faces-at-ease").members.pixels
    kinds = classifier.logits(faces, "kind").argmax(1).tolist()
    assert sum(classifier.classes["kind"][k] == "Smileys & Emotion" for k in kinds) >= 9
