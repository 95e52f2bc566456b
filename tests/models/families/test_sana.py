"""SANA: the instruction before prompts, whole timesteps, an autoencoder without a posterior, its own refusals."""

import json

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import tiny
from intaglio.bench.models.random_models import gemma_pipelines, random_pipelines
from intaglio.errors import BadInput
from intaglio.learning.mixed_precision import computing_in
from intaglio.models.diffusion.families.linear_attention import linear_attention
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import latent_batches
from intaglio.sampling.start import GivenLatents


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_pipelines.folder_of("sana", tmp_path_factory.mktemp("models") / "m")


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder)


def theirs(prompt, negative="", order=1, steps=4):
    pipe = gemma_pipelines.sana_pipeline(0, schedule={"solver_order": order})
    pipe.set_progress_bar_config(disable=True)
    about = {"num_inference_steps": steps, "guidance_scale": 5.0, "height": 32, "width": 32, "output_type": "latent"}
    return pipe([prompt], negative_prompt=negative, latents=start(), use_resolution_binning=False, **about).images


def start():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def drawn(model, prompt, negative="", sampler="ddim", steps=4):
    about = {"steps": steps, "sampler": sampler, "guidance_scale": 5.0, "negative": negative}
    with torch.no_grad():
        return next(iter(latent_batches(model, [prompt], [0], start=GivenLatents(start()), **about)))


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers' multistep solver
def test_a_negative_prompt_is_led_away_from_without_an_instruction(model):
    assert torch.allclose(drawn(model, " A Cat", "red DOG"), theirs(" A Cat", "red DOG"), rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_the_published_solver_is_that_of_second_order_here(model):
    ours = drawn(model, "a cat", sampler="dpm++2m", steps=5)
    assert torch.allclose(ours, theirs("a cat", order=2, steps=5), rtol=0, atol=2e-5)


def test_three_hundred_tokens_are_left_of_a_prompt(model):
    with torch.no_grad():
        both, alone = model.embed(["", "red cat"]), model.embed(["red cat"], negative=True)
    assert both.hidden.shape[1] == 300
    assert both.mask.sum(1).tolist() == [1, 1 + 1 + 7]  # the first, and a blank of the instruction's end
    assert alone.mask.sum().item() == 1 + 7
    with pytest.warns(UserWarning, match="only 298 of 400 tokens of this prompt are read"), torch.no_grad():
        assert model.embed(["x" * 400]).mask.all()


def test_the_denoiser_is_told_whole_timesteps(model):
    inputs = {"scale": 2.0}
    told = model.family.arguments(start().expand(3, -1, -1, -1), torch.tensor([300.4, 300.0, 999.0]), inputs)[1][
        "timestep"
    ]
    assert told.tolist() == [602.0, 602.0, 2000.0]
    # A timestep that was made of its noise level may lie a rounding error of float64 below a whole one.
    below = torch.nextafter(torch.tensor(300.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64))
    told = model.family.arguments(start(), below[None], inputs)[1]["timestep"]
    assert told.tolist() == [602.0]


def test_latents_are_those_of_the_autoencoder_times_its_factor(model):
    pixels = tiny.pixels(2)
    with torch.no_grad():
        wanted = model.autoencoder.encode(pixels * 2 - 1).latent * 0.5
        assert torch.allclose(model.encode(pixels), wanted, atol=1e-6)
        sources = [torch.Generator().manual_seed(k) for k in (0, 1)]
        assert torch.equal(model.encode(pixels, sources), model.encode(pixels))
        pictures = model.autoencoder.decode(wanted / 0.5).sample
        assert torch.allclose(model.decode(wanted, clamp=False) * 2 - 1, pictures, atol=1e-5)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_divides_by_no_zero(folder, precision):
    """Sums of weights of about 1e-9, which are 0 in half precision; also where checkpointing computes again."""
    model, found = load_model(folder), []
    for block in model.denoiser.transformer_blocks:
        block.attn1.to_q.weight.data *= 1e-4
        block.attn1.to_k.weight.data *= 1e-4
    latents = start().requires_grad_(True)
    text, t = model.embed(["red cat"]), torch.tensor([500.0])
    for chosen in ("float32", precision):
        with computing_in(chosen, [model.denoiser]):
            output = checkpoint(model.predict, latents, t, text, use_reentrant=False)
            found.append((output, *torch.autograd.grad(output.square().sum(), latents)))
    for one, half in zip(*found, strict=True):
        assert (one - half).norm() < 0.05 * one.norm()


def test_linear_attention_is_the_mean_of_values_by_their_weights():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 1, 5, 3, generator=generator) for _ in range(3))
    query[0, 0, 0] = -1.0
    weights = query[0, 0].clamp(min=0) @ key[0, 0].clamp(min=0).T
    wanted = torch.stack([row @ value[0, 0] / row.sum() if row.any() else torch.zeros(3) for row in weights])
    assert torch.allclose(linear_attention(query, key, value)[0, 0], wanted, atol=1e-6)
    assert not wanted[0].any()


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("vae/config.json", {"encoder_block_out_channels": [8, 8, 8]}, "different numbers of levels"),
        ("vae/config.json", {"decoder_layers_per_block": [1, 900]}, "describes 90[0-9] layers"),
        ("vae/config.json", {"encoder_layers_per_block": 1}, "encoder_layers_per_block"),
        ("transformer/config.json", {"num_layers": 900}, "describes 900 layers"),
        ("transformer/config.json", {"timestep_scale": "1"}, "timestep_scale"),
        ("scheduler/scheduler_config.json", {"flow_shift": -1.0}, "flow_shift"),
        ("scheduler/scheduler_config.json", {"prediction_type": "epsilon"}, "use_flow_sigmas"),
        (
            "scheduler/scheduler_config.json",
            {"prediction_type": "epsilon", "use_flow_sigmas": False},
            "of discrete timesteps, where",
        ),
        ("model_index.json", {"_class_name": "SanaSprintPipeline"}, "SanaSprintPipeline"),
    ],
)
def test_other_kinds_and_wrong_settings_of_sana_are_named(folder, name, settings, words):
    kept = (folder / name).read_bytes()
    try:
        (folder / name).write_text(json.dumps({**json.loads(kept), **settings}))
        with pytest.raises(BadInput, match=words):
            load_model(folder)
    finally:
        (folder / name).write_bytes(kept)
