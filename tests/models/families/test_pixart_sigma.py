"""PixArt-Sigma: its own refusals, the spelling of its published settings, small letters, masks."""

import json

import pytest
import torch
from safetensors.torch import load_file

from intaglio.bench.models.random_models import random_pipelines, t5_pipelines
from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_pipelines.folder_of("pixart-sigma", tmp_path_factory.mktemp("models") / "m")


def test_a_folder_with_the_published_class_name_is_the_same_model(folder, tmp_path):
    model = load_model(folder)
    model.save(tmp_path / "m")
    config = tmp_path / "m" / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "_class_name": "Transformer2DModel"}))
    assert load_model(tmp_path / "m").fingerprint == model.fingerprint
    assert load_model(tmp_path / "m" / "transformer", like=folder).fingerprint == model.fingerprint


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "of flow matching"),
        ("text_encoder/config.json", {"model_type": "umt5"}, "type umt5, where T5 is due"),
        ("transformer/config.json", {"num_layers": 900}, "describes 900 layers"),
        ("transformer/config.json", {"caption_channels": 0}, "caption_channels"),
        ("transformer/config.json", {"norm_type": "ada_norm"}, "ada_norm"),
        ("model_index.json", {"_class_name": "PixArtAlphaPipeline"}, "PixArtAlphaPipeline"),
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


def test_parts_of_other_widths_are_named():
    for changes, words in (
        ({"caption_channels": 32}, "its T5 gives 48 numbers a token where the denoiser takes 32"),
        ({"out_channels": 6}, "goes from 4 to 6 channels"),
        ({"cross_attention_dim": 24}, "attends to 24 numbers a token where it makes 16"),
        ({"use_additional_conditions": True}, "which is PixArt-alpha"),
    ):
        with pytest.raises(BadInput, match=words):
            in_memory(t5_pipelines.pixart_pipeline(**changes))


def in_memory(pipe):
    return LatentDiffusion(
        denoiser=pipe.transformer,
        autoencoder=pipe.vae,
        text_encoders=[pipe.text_encoder],
        tokenizers=[pipe.tokenizer],
        scheduler=pipe.scheduler.config,
        name="tiny",
    )


def test_capitals_and_blanks_around_a_prompt_say_nothing(folder):
    model = load_model(folder)
    one, two = model.embed(["A red CAT "]), model.embed(["a red cat"])
    assert torch.equal(one.hidden, two.hidden)
    with pytest.warns(UserWarning, match="only 299 of 400 tokens of this prompt are read"):
        assert model.embed(["x " * 200]).mask.all()


def test_padding_is_not_attended_to(folder):
    model = load_model(folder)
    latents, t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    with torch.no_grad():
        given = model.embed(["dog"])
        count = int(given.mask.sum())
        short = Conditioning(given.hidden[:, :count])
        noisy = Conditioning(given.hidden + 9.0 * ~given.mask[..., None], mask=given.mask)
        wanted = model.predict(latents, t, given)
        assert torch.allclose(model.predict(latents, t, short), wanted, atol=1e-6)
        assert torch.allclose(model.predict(latents, t, noisy), wanted, atol=1e-6)
        both = Conditioning.cat([model.embed(["a red cat"]), short])
        found = model.predict(latents.expand(2, -1, -1, -1), t.expand(2), both)[1:]
    assert torch.equal(both.mask[1], given.mask[0])
    assert torch.allclose(found, wanted, atol=1e-6)


def test_an_adapter_is_written_under_names_of_diffusers_and_read_again(folder, tmp_path):
    model = load_model(folder)
    adapter = LoRA.new(model, 2, 4.0, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _, _, layer in adapter.pairs():
            layer.up.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    for layout in ("diffusers", "kohya"):
        adapter.write(tmp_path / "lora.safetensors", layout)
        again = LoRA.read(tmp_path / "lora.safetensors").merged_into(model.copy())
        wanted = adapter.merged_into(model.copy()).denoiser.state_dict()
        assert all(torch.allclose(w, wanted[name]) for name, w in again.denoiser.state_dict().items())
    adapter.write(tmp_path / "lora.safetensors")
    path = "transformer.transformer_blocks.0.attn2.to_out.0.lora_A.weight"
    assert path in load_file(tmp_path / "lora.safetensors")


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_an_adapter_in_either_layout_is_the_same_again(form, folder, tmp_path):
    model = load_model(folder)
    paths = {path for path, one in model.denoiser.named_modules() if isinstance(one, torch.nn.Linear)}
    adapter = LoRA.new(model, 2, 1.0, sorted(paths), torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _, _, layer in adapter.pairs():
            layer.up.normal_(0, 0.1)
    adapter.write(tmp_path / "lora.safetensors", form)
    read = LoRA.read(tmp_path / "lora.safetensors").merged_into(model.copy())
    changed = adapter.merged_into(model.copy())
    assert (
        read.part_fingerprint("denoiser") == changed.part_fingerprint("denoiser") != model.part_fingerprint("denoiser")
    )
