"""Chroma: its mask, the recomputing of its activations, T5 under its names in files, refusals."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from intaglio.bench.models.random_models import random_pipelines, t5_pipelines
from intaglio.denoising.losses import checkpointed
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_pipelines.folder_of("chroma", tmp_path_factory.mktemp("models") / "m")


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder)


def test_the_mask_has_the_prompt_its_end_and_one_token_of_padding(model):
    with pytest.warns(UserWarning, match="only 511 of 600 tokens"):
        given = model.embed(["dog", "x " * 300])
    words = len(model.tokenizers[0]("dog").input_ids)
    assert given.mask[0].tolist() == [place < words + 1 for place in range(512)]
    assert given.mask[1].all()


def test_recomputed_activations_give_the_same_gradients(model):
    """diffusers drops the mask of the blocks of one stream there."""
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        given, t = model.embed(["dog", "a red cat"]), torch.tensor([300, 900])

    def asked():
        x = latents.clone().requires_grad_(True)
        found = model.predict(x, t, given)
        return found.detach(), torch.autograd.grad(found.square().sum(), x)[0]

    plain = asked()
    with checkpointed(model):
        assert model.denoiser.is_gradient_checkpointing
        recomputed = asked()
    assert not model.denoiser.is_gradient_checkpointing
    for one, two in zip(plain, recomputed, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        bare = model.predict(latents, t, type(given)(given.hidden))
    assert not torch.allclose(bare, plain[0], atol=1e-3)


def test_t5_is_the_first_encoder_whatever_number_a_file_gives_it(model, tmp_path):
    name = "encoder_block_0_layer_0_SelfAttention_q"
    pair = (torch.randn(2, t5_pipelines.JOINT), torch.randn(16, 2))
    for number in (1, 3):
        keys = [f"lora_te{number}_{name}.lora_{end}.weight" for end in ("down", "up")]
        save_file(dict(zip(keys, pair, strict=True)), tmp_path / "lora.safetensors")
        adapter = LoRA.read(tmp_path / "lora.safetensors").named_for(model)
        assert set(adapter.layers) == {"text_encoder"}
        adapter.write(tmp_path / "again.safetensors", "kohya")
        assert f"lora_te1_{name}.alpha" in load_file(tmp_path / "again.safetensors")


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("model_index.json", {"_class_name": "ChromaInpaintPipeline"}, "is of 'ChromaInpaintPipeline'"),
        ("text_encoder/config.json", {"model_type": "umt5"}, "type umt5, where T5 is due"),
        ("transformer/config.json", {"approximator_layers": 900}, "describes 902 layers"),
        ("transformer/config.json", {"approximator_hidden_dim": -1}, "approximator_hidden_dim"),
        ("scheduler/scheduler_config.json", {"time_shift_type": "linear"}, "time_shift_type"),
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


def test_parts_of_other_widths_are_named(tmp_path):
    for place, (changes, words) in enumerate(
        (
            ({"in_channels": 64}, "takes 64 numbers a token where four cells of the latents have 16"),
            ({"joint_attention_dim": 32}, "its T5 gives 48 numbers a token where the denoiser takes 32"),
        )
    ):
        t5_pipelines.chroma_pipeline(**changes).save_pretrained(tmp_path / str(place))
        with pytest.raises(BadInput, match=words):
            load_model(tmp_path / str(place))
