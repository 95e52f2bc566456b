from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import Conditioning, LatentDiffusion

PREDICTIONS = ["epsilon", "v_prediction", "sample"]


def wrapped(pipeline) -> LatentDiffusion:
    two = hasattr(pipeline, "text_encoder_2")
    return LatentDiffusion(
        denoiser=pipeline.unet,
        autoencoder=pipeline.vae,
        text_encoders=[pipeline.text_encoder, *([pipeline.text_encoder_2] if two else [])],
        tokenizers=[pipeline.tokenizer, *([pipeline.tokenizer_2] if two else [])],
        scheduler=dict(pipeline.scheduler.config),
        name="tiny",
    )


@pytest.fixture(params=["sd", "sdxl"])
def pipeline(request):
    return {"sd": tiny.sd_pipeline, "sdxl": tiny.sdxl_pipeline}[request.param]()


def batch(model, prompts=("a red cat", "dog")):
    latents = model.encode(tiny.pixels(len(prompts))).detach()
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    return latents, noise, torch.tensor([30, 900][: len(prompts)]), model.embed(list(prompts))


def test_what_it_says_of_itself(pipeline):
    model = wrapped(pipeline)
    assert (model.resolution, model.factor, model.latent_channels, model.scaling_factor) == (16, 2, 4, 0.5)
    assert (model.device.type, model.dtype, model.schedule.count) == ("cpu", torch.float32, 1000)
    names = {"denoiser", "text_encoder", "autoencoder"} | (
        {"text_encoder_2"} if len(model.text_encoders) == 2 else set()
    )
    assert set(model.parts) == names


def test_encoding_is_the_scaled_mean_or_a_sample_that_depends_on_the_seed_only(pipeline):
    model, pixels = wrapped(pipeline), tiny.pixels(3)
    posterior = pipeline.vae.encode(pixels * 2 - 1).latent_dist
    assert torch.allclose(model.encode(pixels), posterior.mean * 0.5, atol=1e-6)
    seeded = [torch.Generator().manual_seed(k) for k in range(3)]
    drawn = model.encode(pixels, seeded)
    third = model.encode(pixels[2:], [torch.Generator().manual_seed(2)])
    assert torch.allclose(drawn[2:], third, atol=1e-5)
    noise = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(third[0], (posterior.mean[2] + posterior.std[2] * noise) * 0.5, atol=1e-5)


def test_decoding_ends_in_zero_to_one(pipeline):
    model = wrapped(pipeline)
    latents = 30 * torch.randn(2, 4, 8, 8)
    pixels = model.decode(latents)
    raw = pipeline.vae.decode(latents / 0.5).sample
    assert torch.allclose(pixels, ((raw + 1) / 2).clamp(0, 1), atol=1e-6)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    with pytest.raises(BadInput, match=r"17x16 .*multiples of 2"):
        model.encode(torch.zeros(1, 3, 16, 17))


def test_embedding_is_what_diffusers_own_pipeline_computes(pipeline):
    model = wrapped(pipeline)
    found = model.embed(["a red cat", ""])
    for row, prompt in enumerate(["a red cat", ""]):
        known = pipeline.encode_prompt(prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
        assert torch.allclose(found.hidden[row], known[0][0], atol=1e-6)
        if found.pooled is not None:
            assert torch.allclose(found.pooled[row], known[2][0], atol=1e-6)
            assert found.size[row].tolist() == [16, 16, 0, 0, 16, 16]
    found.hidden.sum().backward()
    assert model.text_encoders[0].get_input_embeddings().weight.grad.abs().sum() > 0


def test_a_prompt_that_is_cut_is_named():
    with pytest.warns(UserWarning, match="only 10 of 15 tokens.*xxxxx xxxxx xxxxx"):
        wrapped(tiny.sd_pipeline()).embed(["xxxxx xxxxx xxxxx"])


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("build", [tiny.sd_pipeline, tiny.sdxl_pipeline])
def test_predict_gives_the_noise_and_error_the_loss_of_training(build, prediction):
    pipeline = build(0, prediction)
    model = wrapped(pipeline)
    latents, noise, t, words = batch(model)
    a, s = (level[:, None, None, None] for level in (model.schedule.signal(t), model.schedule.noise(t)))
    noised = a * latents + s * noise
    assert torch.allclose(model.noised(latents, noise, t), noised, atol=1e-6)
    added = None if words.pooled is None else {"text_embeds": words.pooled, "time_ids": words.size}
    raw = pipeline.unet(noised, t, encoder_hidden_states=words.hidden, added_cond_kwargs=added).sample
    target, as_noise = {
        "epsilon": (noise, raw),
        "v_prediction": (a * noise - s * latents, a * raw + s * noised),
        "sample": (latents, (noised - a * raw) / s),
    }[prediction]
    assert torch.allclose(model.predict(noised, t, words), as_noise, atol=1e-4)
    losses = torch.stack([functional.mse_loss(raw[k], target[k]) for k in range(2)])
    assert torch.allclose(model.error(latents, noise, t, words), losses, rtol=1e-4)


def test_one_row_of_conditioning_serves_all_latents(pipeline):
    model = wrapped(pipeline)
    latents, _, t, _ = batch(model)
    one = model.embed(["dog"])
    assert torch.allclose(model.predict(latents, t, one), model.predict(latents, t, one[[0, 0]]))


def test_a_predicted_variance_is_dropped():
    pipeline = tiny.sd_pipeline(unet_changes={"out_channels": 8})
    model = wrapped(pipeline)
    latents, noise, t, words = batch(model)
    raw = pipeline.unet(latents, t, encoder_hidden_states=words.hidden).sample
    assert raw.shape[1] == 8
    assert torch.equal(model.predict(latents, t, words), raw[:, :4])
    assert model.error(latents, noise, t, words).shape == (2,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_give_float32(pipeline, dtype):
    model = wrapped(pipeline)
    latents, noise, t, words = batch(model)
    exact = model.predict(latents, t, words)
    half = model.copy().to(dtype=dtype)
    assert half.dtype == dtype
    assert next(half.autoencoder.parameters()).dtype == torch.float32
    words = half.embed(["a red cat", "dog"])
    results = [
        half.predict(latents, t, words),
        half.error(latents, noise, t, words),
        words.hidden,
        half.decode(latents),
    ]
    assert {result.dtype for result in results} == {torch.float32}
    assert torch.allclose(results[0], exact, atol=0.2)
    assert not torch.equal(results[0], exact)


def test_gradients_reach_latents_and_weights(pipeline):
    model = wrapped(pipeline)
    latents, noise, t, words = batch(model)
    latents.requires_grad_()
    model.error(latents, noise, t, words).sum().backward()
    assert latents.grad.abs().sum() > 0
    assert all(weight.grad is not None for weight in model.denoiser.parameters())


@pytest.mark.parametrize("fails", [False, True])
def test_frozen_puts_everything_back(pipeline, fails):
    model = wrapped(pipeline)
    model.denoiser.train()
    model.denoiser.mid_block.eval()
    model.text_encoders[0].requires_grad_(False)

    def state():
        modules = [m.training for part in model.parts.values() for m in part.modules()]
        return modules, [w.requires_grad for part in model.parts.values() for w in part.parameters()]

    before = state()
    with pytest.raises(ZeroDivisionError) if fails else nullcontext(), model.frozen():
        modes, flags = state()
        assert not any(modes)
        assert not any(flags)
        if fails:
            raise ZeroDivisionError
    assert state() == before


def test_a_copy_has_its_own_weights_and_shares_the_rest(pipeline):
    model = wrapped(pipeline)
    twin = model.copy()
    assert twin.same_weights(model)
    assert twin.autoencoder is model.autoencoder
    assert twin.tokenizers == model.tokenizers
    with torch.no_grad():
        next(twin.text_encoders[-1].parameters()).add_(1)
    assert not twin.same_weights(model)
    assert twin.differences(model) == []


def test_the_fingerprint_follows_the_weights():
    model = wrapped(tiny.sd_pipeline())
    first = model.fingerprint
    assert first == wrapped(tiny.sd_pipeline()).fingerprint
    assert first != wrapped(tiny.sd_pipeline(1)).fingerprint
    assert first != model.copy().to(dtype=torch.float16).fingerprint
    latents, noise, t, words = batch(model)
    optimizer = torch.optim.AdamW(model.denoiser.parameters())
    model.error(latents, noise, t, words).sum().backward()
    optimizer.step()
    trained = model.fingerprint
    assert trained != first
    with torch.no_grad():
        torch._foreach_mul_(list(model.text_encoders[0].parameters()), 0.5)
    assert model.fingerprint != trained
    # The autoencoder is part of it, but not of what two models are compared by.
    before = (model.fingerprint, model.weights_fingerprint, model.part_fingerprint("autoencoder"))
    with torch.no_grad():
        next(model.autoencoder.parameters()).add_(1)
    assert model.weights_fingerprint == before[1]
    assert model.fingerprint != before[0]
    assert model.part_fingerprint("autoencoder") != before[2]


def changed(model, **changes):
    twin = model.copy()
    for key, value in changes.items():
        setattr(twin, key, value)
    return twin


def test_differences_name_the_field():
    model = wrapped(tiny.sd_pipeline())
    assert model.differences(wrapped(tiny.sd_pipeline(5))) == []

    def against(**changes):
        return " ".join(model.differences(changed(model, **changes)))

    assert "prediction type (epsilon and sample)" in against(schedule=replace(model.schedule, prediction="sample"))
    schedule = wrapped(tiny.sd_pipeline(schedule={"beta_end": 0.02})).schedule
    assert against(schedule=schedule) == "noise schedule"
    assert "autoencoder scaling factor (0.5 and 0.25)" in against(autoencoder=tiny.autoencoder(scaling_factor=0.25))
    assert "latent channels (4 and 3)" in against(autoencoder=tiny.autoencoder(latent_channels=3))
    words = tiny.tokenizer()
    assert "text hidden size ((16,) and (32,))" in against(text_encoders=(tiny.text_encoder(words, 32),))
    assert "denoiser block_out_channels ((8, 16) and (8, 12))" in against(
        denoiser=tiny.unet(block_out_channels=(8, 12))
    )
    assert "resolution (16 and 32)" in against(denoiser=tiny.unet(sample_size=16))
    found = model.differences(wrapped(tiny.sdxl_pipeline()))
    assert any(line.startswith("denoiser addition_embed_type") for line in found)


def test_added_tokens_are_no_difference_but_another_vocabulary_is():
    model = wrapped(tiny.sd_pipeline())
    longer, other = tiny.tokenizer(), tiny.tokenizer()
    longer.add_tokens(["<sks>"])
    assert model.differences(changed(model, tokenizers=(longer,))) == []
    swapped = {**other.get_vocab(), "a": other.get_vocab()["b"], "b": other.get_vocab()["a"]}
    other.get_vocab = lambda: swapped
    assert model.differences(changed(model, tokenizers=(other,))) == ["tokenizer vocabulary"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"in_channels": 9}, "inpainting"),
        ({"in_channels": 8}, "takes 8 channels"),
        ({"out_channels": 3}, "puts out 3 channels"),
        ({"time_cond_proj_dim": 8}, "distilled"),
        ({"num_class_embeds": 10}, "class"),
        ({"class_embed_type": "timestep"}, "class"),
        ({"sample_size": (8, 4)}, "sample_size"),
        ({"cross_attention_dim": 24}, "16 numbers a token where the denoiser takes 24"),
    ],
)
def test_models_that_ask_for_more_than_text_are_refused(changes, words):
    with pytest.raises(BadInput, match=f"tiny cannot be used: .*{words}"):
        wrapped(tiny.sd_pipeline(unet_changes=changes))


def test_the_refiner_is_refused():
    with pytest.raises(BadInput, match="refiner"):
        wrapped(tiny.sdxl_pipeline(unet_changes={"projection_class_embeddings_input_dim": 5 * 8 + 24}))


def test_conditioning_rows_are_picked_repeated_and_joined():
    rows = Conditioning(torch.arange(6.0).view(3, 1, 2), torch.arange(3.0).view(3, 1), None)
    assert len(rows) == 3
    assert rows[[2, 0, 2]].hidden[:, 0, 0].tolist() == [4, 0, 4]
    assert rows[torch.tensor([1])].pooled.tolist() == [[1.0]]
    assert rows[1:].pooled.tolist() == [[1.0], [2.0]]
    joined = Conditioning.cat([rows, rows[:0], rows[[1]]])
    assert joined.pooled.flatten().tolist() == [0, 1, 2, 1]
    assert joined.size is None
