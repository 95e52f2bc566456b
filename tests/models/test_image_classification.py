"""Scores of classes, and image classifiers read from the layouts of others."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

from explain_scenes import classifier, untrained
from intaglio.errors import BadInput
from intaglio.explain.methods.grad_cam import GradCAM
from intaglio.explain.methods.occlusion import HiddenSquares
from intaglio.models.classifiers import save_classifier
from intaglio.models.image_classification import load_scored, network_side
from intaglio.models.scored_network import classifier_score


def resnet(folder):
    names = {0: "cat", 1: "dog", 2: "bird"}
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", id2label=names)
    torch.manual_seed(0)
    net = ResNetForImageClassification(config).eval()
    net.save_pretrained(folder)
    prepared = {"size": {"height": 32, "width": 32}, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return net


@pytest.fixture
def pixels():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_scores_by_hand():
    net, pixels = classifier(), torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    logits = net.logits(pixels, "kind")
    p = logits.softmax(1)
    for target in range(3):
        odds = classifier_score(net, "kind").score(pixels, target)
        torch.testing.assert_close(odds, (p / (1 - p)).log()[:, target])
        torch.testing.assert_close(classifier_score(net, "kind", "logit").score(pixels, target), logits[:, target])
        torch.testing.assert_close(classifier_score(net, "kind", "probability").score(pixels, target), p[:, target])
    assert classifier_score(net, "kind").hash != classifier_score(net, "artist").hash
    assert untrained().layers[-2:] == ("stages.1", "stages")


@pytest.mark.parametrize(
    ("prepared", "side"),
    [
        ({"size": {"height": 48, "width": 32}}, 32),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 192}, 192),
        ({"size": {"shortest_edge": 256}, "crop_size": 192}, 256),
        ({"size": 40}, 40),
        ({"do_resize": False}, 64),
        (None, 224),
    ],
)
def test_pictures_are_as_large_as_a_network_prepares_them(tmp_path, prepared, side):
    if prepared is not None:
        rest = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(prepared | rest))
    assert network_side(tmp_path) == side
    assert network_side(tmp_path / "net.safetensors") == 64


def test_a_resnet_of_transformers_gives_its_own_logits_and_maps(tmp_path, pixels):
    net = resnet(tmp_path)
    scored = load_scored(tmp_path, side=32)
    assert scored.classes == ("cat", "dog", "bird")
    with torch.no_grad():
        expected = net(pixel_values=(pixels - 0.5) / 0.25)
    torch.testing.assert_close(scored.logits(pixels), expected.logits)
    hidden = net.resnet(pixel_values=(pixels - 0.5) / 0.25).last_hidden_state.mean((2, 3))
    torch.testing.assert_close(scored.features(pixels), hidden)
    assert scored.layers[-1] == "resnet.encoder.stages.1"
    found = GradCAM().attributed(scored, pixels[0], 1, "a").map
    assert found.shape == (32, 32)


def test_a_vision_transformer_is_explained_from_outside(tmp_path, pixels):
    config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=16)
    config.patch_size, config.num_labels = 8, 2
    net = ViTForImageClassification(config).eval()
    net.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"size": 16, "image_mean": [0.0] * 3, "image_std": [1.0] * 3})
    )
    scored = load_scored(tmp_path, side=32)
    assert scored.features(pixels).shape == (2, 8)
    found = HiddenSquares(window=16, stride=16).attributed(scored, pixels[0], 0, "a")
    assert float(found.map.abs().max()) > 0


def test_what_is_no_classifier_is_refused(tmp_path):
    net = resnet(tmp_path)
    with pytest.raises(BadInput, match="has one head, called 'class', and no 'kind'"):
        load_scored(tmp_path, "kind")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["classifier.1.weight"] = torch.zeros(5, 8)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=r"lacks .*classifier\.1\.weight.* random there"):
        load_scored(tmp_path)
    save_file({"classifier.1.bias": torch.zeros(3)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=r"has 3 numbers, where its config.json asks for [0-9,]+; export"):
        load_scored(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="pickled weights"):
        load_scored(tmp_path)
    net.resnet.save_pretrained(tmp_path / "body")
    with pytest.raises(BadInput, match="holds ResNetModel, and no image classifier"):
        load_scored(tmp_path / "body")
    with pytest.raises(BadInput, match="does not exist|is missing|cannot be read"):
        load_scored(tmp_path / "nowhere.safetensors")


def test_the_head_of_a_file_with_several_is_its_first_or_the_one_named(tmp_path):
    save_classifier(classifier(), tmp_path / "net.safetensors")
    assert load_scored(tmp_path / "net.safetensors").head == "kind"
    assert load_scored(tmp_path / "net.safetensors", "artist").classes == ("one", "two")
