"""AuraFlow: padding that is seen as zeros, places of tokens, its own refusals."""

import json

import pytest
import torch

from intaglio.bench.models.random_models import random_pipelines
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_pipelines.folder_of("auraflow", tmp_path_factory.mktemp("models") / "m")


def test_padding_is_zeros_that_the_denoiser_sees(folder):
    model, x = load_model(folder), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    given, t = model.embed(["dog"]), torch.tensor([500])
    shown = given.hidden.abs().sum(-1) > 0
    assert given.mask is None
    assert (given.hidden.shape[1], int(shown.sum())) == (256, 5)  # a blank, three letters and the end
    short = type(given)(given.hidden[:, : int(shown.sum())])
    assert not torch.allclose(model.predict(x, t, short), model.predict(x, t, given), atol=1e-4)


def test_pictures_are_as_large_as_the_autoencoders_and_no_larger_than_the_places(folder):
    model = load_model(folder)
    assert model.resolution == 16
    of = model.family
    model.autoencoder.register_to_config(sample_size=1024)
    assert of.side(model.components) == 2 * 8  # of 64 places, where 512 cells would be due
    model.denoiser.register_to_config(sample_size=3)
    assert of.side(model.components) == 2 * 8


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("text_encoder/config.json", {"model_type": "t5"}, "type t5, where UMT5 is due"),
        ("text_encoder/config.json", {"num_layers": 900}, "describes 900 layers"),
        ("transformer/config.json", {"num_single_dit_layers": 900}, "describes 901 layers"),
        ("vae/config.json", {"sample_size": 14}, "do not divide its side of 7"),
        ("transformer/config.json", {"pos_embed_max_size": 0}, "pos_embed_max_size"),
        ("scheduler/scheduler_config.json", {"shift": -1.0}, "shift"),
        ("model_index.json", {"_class_name": "AuraFlowControlPipeline"}, "AuraFlowControlPipeline"),
    ],
)
def test_other_kinds_and_wrong_settings_of_auraflow_are_named(folder, name, settings, words):
    kept = (folder / name).read_bytes()
    try:
        (folder / name).write_text(json.dumps({**json.loads(kept), **settings}))
        with pytest.raises(BadInput, match=words):
            load_model(folder)
    finally:
        (folder / name).write_bytes(kept)
