"""Lumina-Image 2: the sentence before prompts, the side of padding, its own refusals."""

import json

import pytest
import torch

from intaglio.bench.models.random_models import gemma_pipelines, random_pipelines
from intaglio.errors import BadInput
from intaglio.models.diffusion.families.kept_norms import KeptNorms
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.sampling.loop import latent_batches
from intaglio.sampling.start import GivenLatents


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_pipelines.folder_of("lumina2", tmp_path_factory.mktemp("models") / "m")


def test_negative_and_empty_prompts_have_no_sentence_before_them(folder):
    model, pipe = load_model(folder), gemma_pipelines.lumina_pipeline(0)
    positive, _, negative, shown = pipe.encode_prompt("red", negative_prompt="a dog")
    found = model.embed(["a dog"], negative=True)
    assert torch.equal(found.hidden, negative)
    assert torch.equal(found.mask, shown.bool())
    assert not torch.equal(model.embed(["a dog"]).hidden, negative)
    assert int(model.embed([""]).mask.sum()) == 1
    both = model.embed(["", "red"])
    assert torch.allclose(both.hidden[1], positive[0], atol=1e-6)
    assert torch.equal(both.mask[0], model.embed([""], negative=True).mask[0])


def test_a_negative_prompt_is_led_away_from_as_by_the_pipeline(folder):
    model, pipe = load_model(folder), gemma_pipelines.lumina_pipeline(0)
    pipe.set_progress_bar_config(disable=True)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    about = {"num_inference_steps": 3, "guidance_scale": 5.0, "height": 64, "width": 64, "output_type": "latent"}
    theirs = pipe(["a cat"], negative_prompt=["red dog"], latents=x, **about).images
    about = {"steps": 3, "sampler": "ddim", "guidance_scale": 5.0, "negative": "red dog"}
    (ours,) = latent_batches(model, ["a cat"], [0], start=GivenLatents(x), **about)
    assert torch.allclose(ours, theirs, rtol=0, atol=2e-5)


def test_padding_is_on_the_right_whatever_the_tokenizer_says(folder):
    model = load_model(folder)
    assert random_tokenizer().padding_side == "left"
    assert model.tokenizers[0].padding_side == "right"
    assert bool(model.embed(["dog"]).mask[0, 0])


def random_tokenizer():
    return gemma_pipelines.gemma_tokenizer()


def test_guidance_keeps_the_norm_of_every_row_of_cells():
    a, b, x = torch.randn(3, 1, 2, 4, 6, generator=torch.Generator().manual_seed(0)).double().unbind()
    t = torch.tensor([599])
    found = KeptNorms(NoiseSchedule.straight_path(), of_rows=True)(x, t, x + 0.4 * a, x + 0.4 * b, 3.0)
    v = (found - x) / 0.4
    mixed = a + 3 * (b - a)
    for channel in range(2):
        for row in range(4):
            one, along = v[0, channel, row], mixed[0, channel, row]
            assert one.norm().item() == pytest.approx(b[0, channel, row].norm().item())
            assert torch.allclose(one / one.norm(), along / along.norm())


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("text_encoder/config.json", {"model_type": "gemma"}, "type gemma, where Gemma 2 is due"),
        ("text_encoder/config.json", {"num_hidden_layers": 900}, "describes 900 layers"),
        ("text_encoder/config.json", {"head_dim": 0}, "head_dim"),
        ("transformer/config.json", {"num_layers": 900}, "describes 90[12] layers"),
        ("transformer/config.json", {"cap_feat_dim": 31}, "cap_embedder|caption_embedder|cap_feat_dim"),
        ("transformer/config.json", {"axes_lens": [200, 32, 32]}, "has places for 200 words"),
        ("transformer/config.json", {"sample_size": 256}, "32x32 tokens, fewer"),
        ("model_index.json", {"_class_name": "LuminaPipeline"}, "LuminaPipeline"),
    ],
)
def test_other_kinds_and_wrong_settings_of_lumina_are_named(folder, name, settings, words):
    kept = (folder / name).read_bytes()
    try:
        (folder / name).write_text(json.dumps({**json.loads(kept), **settings}))
        with pytest.raises(BadInput, match=words):
            load_model(folder)
    finally:
        (folder / name).write_bytes(kept)
