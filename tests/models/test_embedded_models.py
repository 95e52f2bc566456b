import pytest
import torch

import tiny
from embedded_pair import embedded_pair
from intaglio.bench.models.random_models import random_pipelines
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.embedded_models import EmbeddedModel
from intaglio.models.testbed import base_path
from intaglio.sampling.loop import sample
from intaglio.sampling.scenes.recognition import seen_objects
from intaglio.sampling.verifiers.scene import SceneVerifier


def test_the_testbed_s_model_has_a_name():
    assert EmbeddedModel("emoji64") in EmbeddedModel.known()
    found = EmbeddedModel.named("emoji64")
    assert found is not None
    assert (found.folder, found.lender) == (base_path(), None)
    assert load_model("emoji64").fingerprint == load_model(base_path()).fingerprint


def test_the_model_of_two_objects_draws_what_the_parser_reads():
    model, prompts = load_model("scenes64"), ["a red circle", "a blue square"]
    pixels = sample(model, prompts, [0, 1], steps=8, guidance_scale=3.0).pixels
    assert [len(seen_objects(one.numpy())) for one in pixels] == [1, 1]
    assert [one.correct for one in SceneVerifier().checks(pixels, prompts)] == [True, True]


def test_what_a_model_lacks_is_the_lender_s(monkeypatch, tmp_path):
    embedded_pair(monkeypatch, tmp_path / "package")
    little, lender = load_model("little"), load_model("emoji64")
    alone = load_model(tmp_path / "package/little", like=lender)
    assert little.name == "little"
    assert little.fingerprint == alone.fingerprint
    assert little.schedule.prediction == "v_prediction"
    for ours, theirs in zip(little.autoencoder.parameters(), lender.autoencoder.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(little.embed(["a cat"]).hidden, lender.embed(["a cat"]).hidden)
    weights = [next(model.denoiser.parameters()) for model in (little, lender)]
    assert not torch.equal(*weights)


def test_a_given_base_goes_before_the_lender(monkeypatch, tmp_path):
    whole = embedded_pair(monkeypatch, tmp_path / "package")
    found, own = load_model("little", like=whole), load_model(whole)
    assert torch.equal(found.embed(["a cat"]).hidden, own.embed(["a cat"]).hidden)


def test_what_is_there_goes_before_a_name(monkeypatch, tmp_path):
    embedded_pair(monkeypatch, tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    tiny.sd_folder(tmp_path / "little", seed=5)
    assert EmbeddedModel.named("little") is None
    assert load_model("little").fingerprint == load_model(tmp_path / "little").fingerprint


def test_other_names_are_refused_with_those_there_are():
    assert EmbeddedModel.named("encoder") is None
    with pytest.raises(BadInput, match=r"no model at emoji65; .* the name of an embedded one \(.*emoji64"):
        load_model("emoji65")


def test_the_flow_model_stands_between_the_parts_of_the_lender(tmp_path):
    """Its two text encoders are the lender's, with the identity as projection; its latents are the lender's own."""
    model, lender = load_model("emoji64-flow"), load_model("emoji64")
    words = lender.tokenizers[0](["a cat"], padding="max_length", return_tensors="pt").input_ids
    own = lender.text_encoders[0](words, output_hidden_states=True).hidden_states[-2]
    assert torch.equal(model.embed(["a cat"]).hidden[:, : own.shape[1]], torch.cat([own, own], -1))
    assert model.schedule.straight
    latents = torch.randn(1, 4, 16, 16)
    assert torch.equal(model.components.unscaled(latents), lender.components.unscaled(latents))
    pixels = sample(model, ["red heart, fluent style"], [1], steps=8, guidance_scale=4.0).pixels[0]
    red, green, _ = pixels[:, 24:40, 24:40].mean((1, 2))
    assert red - green > 0.3
    saved = model.save(tmp_path / "m") or tmp_path / "m"
    assert load_model(saved).fingerprint == model.fingerprint


def test_parts_are_lent_to_no_other_family(tmp_path):
    whole = random_pipelines.folder_of("zimage", tmp_path / "zimage")
    with pytest.raises(BadInput, match="emoji64 is a model of .*, and the parts given are of Z-Image"):
        load_model(whole / "transformer", like="emoji64")
