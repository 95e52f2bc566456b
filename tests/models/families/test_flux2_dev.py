"""FLUX.2 dev: told apart from klein by its guidance input, the system's message, its own refusals."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from intaglio.bench.models.random_models import mistral_pipelines, random_pipelines
from intaglio.errors import BadInput
from intaglio.models.diffusion.families.flux2_dev import LAYERS
from intaglio.models.diffusion.loading import load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_pipelines.folder_of("flux2-dev", tmp_path_factory.mktemp("models") / "m")


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder)


def test_a_denoiser_alone_is_of_dev_by_its_guidance_input(folder, model):
    assert model.family.name == "FLUX.2 dev"
    read = load_model(folder / "transformer", like=folder)
    assert read.fingerprint == model.fingerprint


def test_klein_and_dev_are_not_put_together(folder, model, tmp_path):
    klein = random_pipelines.folder_of("klein", tmp_path / "klein")
    with pytest.raises(BadInput, match="a model of FLUX.2 klein, and the parts given are of FLUX.2 dev"):
        load_model(folder / "transformer", like=klein)
    with pytest.raises(BadInput, match="a model of FLUX.2 dev, and the parts given are of FLUX.2 klein"):
        load_model(klein / "transformer", like=folder)


def test_a_word_for_a_picture_says_nothing(model):
    with torch.no_grad():
        assert torch.equal(model.embed(["a [IMG]cat"]).hidden, model.embed(["a cat"]).hidden)
    text = model.family.prompt_text("a cat", model.tokenizers[0])
    assert "without speculation" in text
    assert model.tokenizers[0].decode(model.tokens(["cat"])[0][0]).count("<|im_start|>") == 1


def test_prompts_of_two_lengths_are_embedded_as_the_pipeline_does_with_their_padding_hidden(model):
    pipe, prompts = mistral_pipelines.flux2_dev_pipeline(), ["a cat", "a red cat on a mat"]
    length = model.tokens(prompts)[0].shape[1]
    with torch.no_grad():
        own = model.embed(prompts).hidden
        theirs = pipe.encode_prompt(prompts, max_sequence_length=length, text_encoder_out_layers=LAYERS)[0]
    assert torch.allclose(own, theirs, rtol=1e-5, atol=1e-5)


def test_the_text_encoder_is_read_under_its_earlier_names(folder, model, tmp_path):
    """Embeddings are those that it writes with too."""
    file = folder / "text_encoder" / "model.safetensors"
    kept = file.read_bytes()
    own = {name: weight.clone() for name, weight in model.text_encoders[0].state_dict().items()}
    try:
        assert "language_model.model.embed_tokens.weight" in load_file(file)
        save_file(own, file)
        assert load_model(folder).fingerprint == model.fingerprint
    finally:
        file.write_bytes(kept)


def test_a_tokenizer_that_cannot_write_prompts_is_named(folder):
    config, template = (folder / "tokenizer" / name for name in ("tokenizer_config.json", "chat_template.jinja"))
    for path, changed, words in (
        (config, json.dumps({**json.loads(config.read_text()), "pad_token": None}), "no token for padding"),
        (template, "{{ nothing.at.all }}", "chat_template fails"),
        (template, "a message", "chat_template leaves the prompt out"),
    ):
        kept = path.read_bytes()
        try:
            path.write_text(changed)
            with pytest.raises(BadInput, match=words):
                load_model(folder)
        finally:
            path.write_bytes(kept)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("text_encoder/config.json", {"model_type": "mistral"}, "type mistral, where Mistral 3 is due"),
        ("text_encoder/config.json", {"text_config": {"num_hidden_layers": 900}}, "describes 90[0-9] layers"),
        ("text_encoder/config.json", {"text_config": {"head_dim": 0}}, "head_dim"),
        ("text_encoder/config.json", {"vision_config": {"patch_size": 0}}, "patch_size"),
        ("text_encoder/config.json", {"text_config": 3}, "text_config"),
        ("transformer/config.json", {"num_single_layers": 900}, "describes 901 layers"),
        ("model_index.json", {"_class_name": "Flux2KontextPipeline"}, "Flux2KontextPipeline"),
    ],
)
def test_other_kinds_and_wrong_settings_of_flux2_dev_are_named(folder, name, settings, words):
    kept = (folder / name).read_bytes()
    given = json.loads(kept)
    settings = {key: {**given[key], **one} if isinstance(one, dict) else one for key, one in settings.items()}
    try:
        (folder / name).write_text(json.dumps({**given, **settings}))
        with pytest.raises(BadInput, match=words):
            load_model(folder)
    finally:
        (folder / name).write_bytes(kept)
