"""Qwen-Image: its template, its autoencoder of videos, the norms that guidance keeps, older names, refusals."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from intaglio.bench.models.random_models import qwen_pipelines, random_pipelines
from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.families.qwen_image import AFTER, BEFORE, DROPPED
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.guides.classifier_free import ClassifierFree


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_pipelines.folder_of("qwen-image", tmp_path_factory.mktemp("models") / "m")


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_template_and_the_tokens_that_are_dropped_are_the_pipelines(model):
    pipe = qwen_pipelines.qwen_pipeline(0)
    assert f"{BEFORE}{{}}{AFTER}" == pipe.prompt_template_encode
    assert pipe.prompt_template_encode_start_idx == DROPPED
    ids = pipe.tokenizer(BEFORE + "cat" + AFTER).input_ids
    assert model.tokens(["cat"])[0][0, : len(ids)].tolist() == ids
    assert (model.tokens(["cat"])[0][0, len(ids) :] == pipe.tokenizer.pad_token_id).all()


def test_a_long_prompt_is_cut_where_the_pipeline_cuts_it(model):
    pipe = qwen_pipelines.qwen_pipeline(0)
    with pytest.warns(UserWarning, match="tokens of this prompt are read"):
        given = model.embed(["cat " * 200])
    hidden, _ = pipe.encode_prompt(["cat " * 200], max_sequence_length=512)
    assert given.hidden.shape == hidden.shape == (1, 512, 32)
    assert torch.allclose(given.hidden, hidden, atol=1e-6)


def test_pictures_are_videos_of_one_frame_for_the_autoencoder(model):
    vae = qwen_pipelines.qwen_pipeline(0).vae
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mean, deviation = (torch.tensor(vae.config[name]).view(1, 4, 1, 1) for name in ("latents_mean", "latents_std"))
    with torch.no_grad():
        posterior = vae.encode(2 * pixels[:, :, None] - 1).latent_dist
        assert torch.allclose(model.encode(pixels), (posterior.mean[:, :, 0] - mean) / deviation, atol=1e-6)
        drawn = model.encode(pixels, [torch.Generator().manual_seed(k) for k in (1, 2)])
        fresh = torch.stack([noise(4, 8, 8, seed=k) for k in (1, 2)])
        wanted = posterior.mean[:, :, 0] + posterior.std[:, :, 0] * fresh
        assert torch.allclose(drawn, (wanted - mean) / deviation, atol=1e-6)
        raw = vae.decode((noise(2, 4, 8, 8) * deviation + mean)[:, :, None]).sample[:, :, 0]
        assert torch.allclose(model.decode(noise(2, 4, 8, 8)), raw / 2 + 0.5, atol=1e-6)
    assert (model.factor, model.resolution, model.latent_channels) == (2, 16, 4)


@pytest.mark.parametrize("t", [999, 500, 3])
def test_guidance_keeps_the_norm_of_each_token(model, t):
    """Noise is x + (1 - s) v; a token is 2x2 cells of all channels."""
    x, v = noise(2, 4, 8, 8).double(), [noise(2, 4, 8, 8, seed=k).double() for k in (1, 2)]
    at, a = torch.tensor([t, t]), max(1 - (t + 1) / 1000, 2.0**-24)
    whole = a + (t + 1) / 1000
    against, along = ((x + a * one) / whole for one in v)
    given = model.embed(["cat", "dog"])
    state = Conditioning.cat([given, given])
    found = ClassifierFree(4.0).step(state, x, at, lambda *_: torch.cat([against, along]))[1]
    mixed = v[0] + 4.0 * (v[1] - v[0])
    for row in range(0, 8, 2):
        for column in range(0, 8, 2):
            cell = (slice(None), slice(None), slice(row, row + 2), slice(column, column + 2))
            norms = [one[cell].flatten(1).norm(dim=1).view(-1, 1, 1, 1) for one in (v[1], mixed)]
            wanted = (x[cell] + a * mixed[cell] * norms[0] / norms[1]) / whole
            velocity = (found[cell] * whole - x[cell]) / a
            assert torch.allclose(found[cell], wanted, rtol=0, atol=1e-12)
            assert torch.allclose(velocity.flatten(1).norm(dim=1), norms[0].flatten(), rtol=1e-6)


def test_rows_of_other_lengths_stand_beside_each_other(model):
    long, short = model.embed(["a red cat"]), model.embed(["dog"])
    assert long.mask is None
    both = Conditioning.cat([long, short])
    assert both.mask.sum(1).tolist() == [long.hidden.shape[1], short.hidden.shape[1]]
    assert both[[1]].rule is not None
    t = torch.tensor([400])
    with torch.no_grad():
        found = model.predict(noise(1, 4, 8, 8).expand(2, -1, -1, -1), t.expand(2), both)
        for row, one in enumerate((long, short)):
            assert torch.allclose(found[row], model.predict(noise(1, 4, 8, 8), t, one)[0], atol=1e-6)


def test_weights_of_the_text_encoder_under_their_older_names_are_the_same(folder, model, tmp_path):
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    renamed = {
        key.replace("model.language_model.", "model.").replace("model.visual.", "visual."): w
        for key, w in weights.items()
    }
    save_file(renamed, path, {"format": "pt"})
    assert "model.embed_tokens.weight" in renamed
    assert load_model(tmp_path / "m").fingerprint == model.fingerprint


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("model_index.json", {"_class_name": "QwenImageEditPipeline"}, "is of 'QwenImageEditPipeline'"),
        ("model_index.json", {"sample_size": 7}, "sample_size 7, where an even number of cells"),
        ("text_encoder/config.json", {"model_type": "qwen3"}, "of type qwen3, where Qwen2.5-VL is due"),
        ("transformer/config.json", {"use_layer3d_rope": True}, "use_layer3d_rope, and takes pictures besides text"),
        ("transformer/config.json", {"num_layers": 900}, "describes 900 layers"),
        ("vae/config.json", {"dim_mult": [1, "2"]}, "dim_mult"),
        ("vae/config.json", {"temperal_downsample": [False, True]}, "temperal_downsample"),
        ("vae/config.json", {"latents_mean": [0.0]}, "latents_mean"),
        ("scheduler/scheduler_config.json", {"shift_terminal": 2.0}, "shift_terminal"),
    ],
)
def test_other_kinds_and_wrong_settings_are_named(folder, name, settings, words):
    kept = (folder / name).read_bytes()
    try:
        (folder / name).write_text(json.dumps({**json.loads(kept), **settings}))
        with pytest.raises(BadInput, match=words):
            load_model(folder)
    finally:
        (folder / name).write_bytes(kept)
