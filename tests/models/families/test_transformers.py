"""Transformer denoisers of every family, against their own pipelines in diffusers."""

import contextlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from intaglio.bench.models.pipeline_draws import pipeline_latents
from intaglio.bench.models.random_models import chat_pipelines, random_pipelines
from intaglio.energy.workloads import denoiser_step, prompt_step
from intaglio.errors import BadInput
from intaglio.models.diffusion import component_folders
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import latent_batches
from intaglio.sampling.start import GivenLatents
from pipeline_answers import ANSWERS

PROMPTS = ["a red cat", "dog"]
KINDS = [kind for kind in random_pipelines.PIPELINES if kind not in ("sd1", "sdxl")]
WORDS = {"flux1-schnell": 256, "zimage": 48, "klein": 48}
"""Tokens of a prompt for T5 or a language model, where a pipeline has to be told."""


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """A kind, a pipeline of it, and the model that was read from its folder."""
    folder = tmp_path_factory.mktemp("models") / request.param
    model = load_model(random_pipelines.folder_of(request.param, folder))
    pipe = random_pipelines.PIPELINES[request.param](0)
    pipe.set_progress_bar_config(disable=True)
    return request.param, pipe, model


def noise(kind: str = "", count: int = 2) -> torch.Tensor:
    """Latents of 16 px; those of FLUX.2 have four times the channels on half the sides."""
    shape = (4 * tiny.CHANNELS, 4, 4) if kind.startswith(("klein", "flux2")) else (tiny.CHANNELS, 8, 8)
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(3))


def scaled_by_hand(vae, raw: torch.Tensor) -> torch.Tensor:
    """Latents of FLUX.2 from those of its autoencoder, cell by cell: the batch norm takes the mean out."""
    n, c, h, w = raw.shape
    cells = torch.stack([raw[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 2).reshape(n, 4 * c, h // 2, w // 2)
    return vae.bn(cells)


def drawn(model, steps: int, scale: float, sampler: str = "ddim") -> torch.Tensor:
    about = {"steps": steps, "sampler": sampler, "guidance_scale": scale, "negative": ""}
    start = GivenLatents(noise(model.family.key))
    return torch.cat(list(latent_batches(model, PROMPTS, [0, 1], start=start, **about)))


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers' multistep solver
@pytest.mark.parametrize("steps", [1, 4])
def test_latents_are_those_of_the_pipeline(pair, steps):
    kind, pipe, model = pair
    if kind == "qwen-image" and steps == 1:  # diffusers stretches a single level of 1 to NaN
        assert drawn(model, steps, 4.0).isfinite().all()
        return
    for scale in (1.0,) if kind == "flux1-schnell" else (1.0, 4.0):
        theirs = pipeline_latents(kind, pipe, PROMPTS, noise(kind), steps, scale)
        most = max(1.0, float(theirs.abs().max())) if kind == "pixart-sigma" else 1.0  # its signal begins at 0.0064
        assert torch.allclose(drawn(model, steps, scale), theirs, rtol=0, atol=2e-5 * most)


def test_latents_that_are_not_square_are_predicted_as_the_network_does(pair):
    kind, pipe, model = pair
    latents = noise(kind)[:, :, :, : 2 if kind.startswith(("klein", "flux2")) else 4]
    t, given = torch.tensor([300, 800]), model.embed(PROMPTS)
    clean, eps = model.clean(latents, t, given), model.predict(latents, t, given)
    if model.schedule.straight:
        v = velocity(kind, pipe, latents, [0.301, 0.801], given)
        assert torch.allclose(clean[0], (latents - 0.301 * v)[0].double(), atol=1e-5)
        assert torch.allclose(eps[1], (latents + 0.199 * v)[1].double(), atol=1e-5)
    else:
        assert torch.allclose(eps, ANSWERS[kind].output(pipe, latents, t, given), atol=1e-5)


def velocity(kind, pipe, latents, s, given) -> torch.Tensor:
    """The network's output, asked by hand."""
    shares = torch.tensor(s)
    if kind in ANSWERS:
        return ANSWERS[kind].output(pipe, latents, 1000 * shares - 1, given)
    if kind.startswith("sd3"):
        words = {"encoder_hidden_states": given.hidden, "pooled_projections": given.pooled}
        return pipe.transformer(latents, timestep=1000 * shares, **words, return_dict=False)[0]
    if kind == "zimage":
        words = [rows[mask] for rows, mask in zip(given.hidden, given.mask, strict=True)]
        return -torch.stack(pipe.transformer([one[:, None] for one in latents], 1 - shares, words).sample)[:, :, 0]
    n, c, h, w = latents.shape
    if kind == "klein":
        ids = {"txt_ids": pipe._prepare_text_ids(given.hidden), "img_ids": pipe._prepare_latent_ids(latents)}
        rows = latents.flatten(2).transpose(1, 2)
        found = pipe.transformer(rows, given.hidden, shares, **ids).sample
        return found.transpose(1, 2).unflatten(2, (h, w))
    found = pipe.transformer(
        pipe._pack_latents(latents, n, c, h, w),
        timestep=shares,
        guidance=torch.ones(n) if pipe.transformer.config.guidance_embeds else None,
        pooled_projections=given.pooled,
        encoder_hidden_states=given.hidden,
        txt_ids=torch.zeros(given.hidden.shape[1], 3),
        img_ids=pipe._prepare_latent_image_ids(n, h // 2, w // 2, "cpu", torch.float32),
        return_dict=False,
    )[0]
    return pipe._unpack_latents(found, 2 * h, 2 * w, pipe.vae_scale_factor)


def test_prompts_are_embedded_as_the_pipeline_does(pair):
    kind, pipe, model = pair
    given = model.embed(PROMPTS)
    if kind in ANSWERS:
        for name, column in ANSWERS[kind].embedded(pipe, PROMPTS).items():
            assert torch.equal(getattr(given, name), column)
        return
    if kind == "zimage":
        rows, _ = pipe.encode_prompt(list(PROMPTS), do_classifier_free_guidance=False, max_sequence_length=48)
        assert all(torch.equal(given.hidden[k][given.mask[k]], rows[k]) for k in (0, 1))
        assert not given.hidden[~given.mask].any()
        return
    if kind == "klein":
        hidden, pooled = pipe.encode_prompt(PROMPTS, max_sequence_length=48)[0], None
    elif kind.startswith("sd3"):
        hidden, _, pooled, _ = pipe.encode_prompt(PROMPTS, None, None, do_classifier_free_guidance=False)
    else:
        hidden, pooled, _ = pipe.encode_prompt(PROMPTS, None, max_sequence_length=WORDS.get(kind, 512))
    assert torch.equal(given.hidden, hidden)
    assert given.pooled is pooled is None or torch.equal(given.pooled, pooled)


def test_clean_and_noise_make_up_the_latents_at_both_ends(pair):
    model, latents = pair[2], noise(pair[0])
    for at in (0, 1, 500, 998, 999):
        t, given = torch.tensor([at, at]), model.embed(PROMPTS)
        a, s = ((1 - (at + 1) / 1000), (at + 1) / 1000) if model.schedule.straight else linear_levels(at)
        clean, eps = model.clean(latents, t, given), model.predict(latents, t, given)
        assert clean.isfinite().all()
        assert eps.isfinite().all()
        assert torch.allclose((a * clean + s * eps).double(), latents.double(), rtol=0, atol=1e-6)


def linear_levels(t: int) -> tuple[float, float]:
    """Signal and noise of DDPM's schedule."""
    product = 1.0
    for k in range(t + 1):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * k / 999)
    return product**0.5, (1 - product) ** 0.5


def test_the_error_is_that_of_the_velocity_over_the_squares_of_both_levels(pair):
    model, clean = pair[2], noise(pair[0])
    if not model.schedule.straight:
        return
    fresh, t = noise(pair[0], 4)[2:], torch.tensor([250, 700])
    with torch.no_grad():
        given = model.embed(PROMPTS)
        s = ((t + 1) / 1000).view(-1, 1, 1, 1)
        noised = (1 - s) * clean + s * fresh
        error = model.error(clean, fresh, t, given)
        of_noise = (model.predict(noised, t, given) - fresh).square().flatten(1).mean(1)
        of_clean = (model.clean(noised, t, given) - clean).square().flatten(1).mean(1)
    assert torch.allclose(of_noise, (1 - s.flatten()).square().double() * error, rtol=1e-4)
    assert torch.allclose(of_clean, s.flatten().square().double() * error, rtol=1e-4)


def test_gradients_to_latents_are_those_of_finite_differences(pair):
    model = pair[2]
    with torch.no_grad():
        given = model.embed(PROMPTS[:1])
    latents, fresh, t = noise(pair[0])[:1], noise(pair[0], 3)[2:], torch.tensor([400])
    latents.requires_grad_(True)
    (found,) = torch.autograd.grad(model.error(latents, fresh, t, given).sum(), latents)
    along = found.sign()
    with torch.no_grad():
        ends = [model.error(latents + sign * 1e-2 * along, fresh, t, given).item() for sign in (1, -1)]
    assert (found * along).sum().item() == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=2e-2)


def test_a_row_alone_is_the_row_beside_others(pair):
    model, latents = pair[2], noise(pair[0])
    given, t = model.embed(["a red cat dog", "dog"]), torch.tensor([100, 900])
    both = model.predict(latents, t, given)
    assert torch.allclose(model.predict(latents[1:], t[1:], model.embed(["dog"])), both[1:], rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:`FluxPosEmbed`:FutureWarning")  # of an import of diffusers' own
def test_a_saved_model_is_the_model_again_and_a_pipeline_of_diffusers(pair, tmp_path):
    kind, pipe, model = pair
    model.save(tmp_path / "saved")
    again = load_model(tmp_path / "saved")
    assert again.fingerprint == model.fingerprint
    assert again.sampling == model.sampling
    assert not (tmp_path / "saved" / "sampling.json").exists()
    lacking = {"text_encoder_3": None, "tokenizer_3": None} if kind == "sd3-without-t5" else {}
    read = type(pipe).from_pretrained(tmp_path / "saved", local_files_only=True, **lacking)
    weights, kept = read.transformer.state_dict(), pipe.transformer.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in kept.items())


def test_guidance_is_by_two_predictions_an_input_or_none(pair):
    kind, _, model = pair
    if kind == "flux2-dev":
        assert (model.sampling.guidance, model.sampling.usual) == ("input", 4.0)
        assert not torch.allclose(drawn(model, 2, 1.0), drawn(model, 2, 4.0), atol=1e-4)
    elif not kind.startswith("flux1"):
        assert model.sampling.guidance == "outside"
    elif kind == "flux1-dev":
        assert (model.sampling.guidance, model.sampling.usual) == ("input", 3.5)
        assert not torch.allclose(drawn(model, 2, 1.0), drawn(model, 2, 4.0), atol=1e-4)
    else:
        with pytest.raises(BadInput, match=r"was distilled for guidance 1, not 4"):
            drawn(model, 2, 4.0)


def test_models_with_a_language_model_say_how_they_are_drawn(tmp_path):
    """klein by a word of its index, which a saved copy keeps; Z-Image-Turbo by nothing but its shift."""
    chat_pipelines.klein_pipeline(distilled=True).save_pretrained(tmp_path / "klein")
    load_model(tmp_path / "klein").save(tmp_path / "again")
    with pytest.raises(BadInput, match=r"was distilled for guidance 1, not 4"):
        drawn(load_model(tmp_path / "again"), 2, 4.0)
    chat_pipelines.zimage_pipeline(shift=3.0).save_pretrained(tmp_path / "turbo")
    assert load_model(tmp_path / "turbo").sampling.usual == 1.0


def test_latents_of_flux_2_are_the_autoencoders_without_its_running_mean(tmp_path):
    model, pixels = load_model(random_pipelines.folder_of("klein", tmp_path / "m")), tiny.pixels(2)
    with torch.no_grad():
        found = model.encode(pixels)
        raw = model.autoencoder.encode(pixels * 2 - 1).latent_dist.mean
        assert torch.allclose(found, scaled_by_hand(model.autoencoder, raw), atol=1e-5)
        assert torch.allclose(model.decode(found, clamp=False) * 2 - 1, model.autoencoder.decode(raw).sample, atol=1e-5)
    assert (model.factor, model.latent_channels, model.resolution) == (4, 16, 16)


def changed(folder, name, **settings):
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_models_that_take_pictures_are_refused_by_name(tmp_path):
    random_pipelines.folder_of("flux1-dev", tmp_path / "m")
    changed(tmp_path / "m", "model_index.json", _class_name="FluxFillPipeline")
    with pytest.raises(BadInput, match=r"is of 'FluxFillPipeline', which takes more than text"):
        load_model(tmp_path / "m")


def test_parts_that_do_not_fit_are_named(tmp_path):
    folder = random_pipelines.folder_of("sd3", tmp_path / "m")
    for name, wrong, words in (
        ("transformer/config.json", {"num_layers": 10**6}, "num_layers"),
        ("transformer/config.json", {"qk_norm": {"a": 1}}, "qk_norm"),
        ("transformer/config.json", {"num_layers": 900}, "describes 900 layers"),
        ("text_encoder_3/config.json", {"num_layers": 900}, "describes 900 layers"),
        ("text_encoder_3/config.json", {"model_type": "umt5"}, "is of a text encoder of type umt5, where T5 is due"),
        ("scheduler/scheduler_config.json", {"use_karras_sigmas": True}, "use_karras_sigmas, which is not supported"),
        ("scheduler/scheduler_config.json", {"shift": -1.0}, "shift"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 500}, "500, where denoisers of this family count"),
    ):
        with put_back(folder / name):
            changed(folder, name, **wrong)
            with pytest.raises(BadInput, match=words):
                load_model(folder)


@pytest.mark.parametrize("kind", ["zimage", "klein"])
def test_parts_that_do_not_fit_a_language_model_are_named(kind, tmp_path):
    folder = random_pipelines.folder_of(kind, tmp_path / "m")
    layers = {"zimage": "n_layers", "klein": "num_single_layers"}[kind]
    for name, wrong, words in (
        ("transformer/config.json", {layers: 900}, "describes 900 layers|describes 90[12] layers"),
        (
            "text_encoder/config.json",
            {"model_type": "llama"},
            "is of a text encoder of type llama, where Qwen 3 is due",
        ),
        ("text_encoder/config.json", {"num_hidden_layers": 900}, "describes 900 layers"),
        ("text_encoder/config.json", {"head_dim": 0}, "head_dim"),
        (
            "model_index.json",
            {"_class_name": "Flux2InpaintPipeline"},
            "is of 'Flux2InpaintPipeline', which takes more than text",
        ),
    ):
        with put_back(folder / name):
            changed(folder, name, **wrong)
            with pytest.raises(BadInput, match=words):
                load_model(folder)
    (folder / "tokenizer" / "chat_template.jinja").write_text("{{ nothing.at.all }}")
    with pytest.raises(BadInput, match="its tokenizer's chat_template fails"):
        load_model(folder)
    (folder / "tokenizer" / "chat_template.jinja").unlink()
    with pytest.raises(BadInput, match="its tokenizer has no chat_template, by which prompts are written"):
        load_model(folder)


def test_a_language_model_is_read_in_the_spelling_of_earlier_versions(tmp_path):
    """With its rotation's base by a name of its own, and all names as those of the model that writes text."""
    folder = random_pipelines.folder_of("zimage", tmp_path / "m")
    before = load_model(folder)
    changed(folder, "text_encoder/config.json", rope_parameters=None, rope_theta=1e6, rope_scaling=None)
    weights = load_file(folder / "text_encoder" / "model.safetensors")
    spelled = {f"model.{name}": weight for name, weight in weights.items()} | {"lm_head.weight": torch.zeros(2, 2)}
    save_file(spelled, folder / "text_encoder" / "model.safetensors")
    after = load_model(folder)
    assert (after.notes, after.unused, after.fingerprint) == ((), (), before.fingerprint)
    assert torch.equal(after.embed(PROMPTS).hidden, before.embed(PROMPTS).hidden)
    changed(folder, "text_encoder/config.json", rope_theta=100.0)
    other = load_model(folder)
    assert not torch.equal(other.embed(PROMPTS).hidden, before.embed(PROMPTS).hidden)
    assert other.fingerprint != before.fingerprint


def test_a_language_model_turns_by_exact_angles_in_half_precision(tmp_path):
    folder = random_pipelines.folder_of("zimage", tmp_path / "m")
    wanted = 1e6 ** (-torch.arange(0, 8, 2) / 8)
    model = load_model(folder, dtype=torch.bfloat16)
    assert torch.allclose(model.text_encoders[0].rotary_emb.inv_freq, wanted, rtol=1e-6)
    assert model.embed(PROMPTS).hidden.isfinite().all()
    assert model.predict(noise(), torch.tensor([5, 900]), model.embed(PROMPTS)).isfinite().all()


def test_kinds_with_further_inputs_are_refused(tmp_path):
    chat_pipelines.klein_pipeline(guidance_embeds=True).save_pretrained(tmp_path / "dev")
    with pytest.raises(BadInput, match=r"it takes the guidance scale as an input \(FLUX\.2 dev\)"):
        load_model(tmp_path / "dev")
    chat_pipelines.zimage_pipeline(siglip_feat_dim=8).save_pretrained(tmp_path / "omni")
    with pytest.raises(BadInput, match=r"it takes pictures besides text \(Z-Image-Omni\)"):
        load_model(tmp_path / "omni")


@contextlib.contextmanager
def put_back(path):
    kept = path.read_bytes()
    yield
    path.write_bytes(kept)


def test_a_transformer_alone_takes_the_rest_from_a_base(tmp_path):
    folder = random_pipelines.folder_of("sd3", tmp_path / "m")
    with pytest.raises(BadInput, match="has no vae, scheduler, text_encoder"):
        load_model(folder / "transformer")
    whole = load_model(folder)
    assert load_model(folder / "transformer", like=whole).fingerprint == whole.fingerprint
    other = load_model(tiny.sd_folder(tmp_path / "sd"))
    with pytest.raises(BadInput, match=r"sd is a model of Stable Diffusion 1, 2 or XL, and the parts given are of"):
        load_model(folder / "transformer", like=other)


def test_the_layers_of_a_call_are_those_of_its_linear_maps(pair):
    """As many as the denoiser has, each once, but those of a last block that reads the text alone."""
    _, pipe, model = pair
    found = denoiser_step(model, 2)
    linear = sum(count for layer, count in found.layers.items() if layer.family.kind == "linear")
    assert linear == sum(isinstance(one, torch.nn.Linear) for one in pipe.transformer.modules())
    assert prompt_step(model, 1).layers


def test_a_tokenizer_that_says_no_length_makes_no_prompt_endless(tmp_path):
    folder = random_pipelines.folder_of("flux1-dev", tmp_path / "m")
    changed(folder, "tokenizer_2/tokenizer_config.json", model_max_length=int(1e30))
    model = load_model(folder)
    assert model.notes == ()
    assert model.tokens(["dog"])[1].shape == (1, 512)
    assert len(model.fingerprint) == 64


def test_weights_are_read_in_the_precision_that_is_asked_for(tmp_path, monkeypatch):
    """Each one as it comes, so that a large model is never there in single precision."""
    folder, asked = random_pipelines.folder_of("flux1-dev", tmp_path / "m"), []
    plain = component_folders.filled

    def filled(module, weight_of, dtype):
        asked.append((type(module).__name__, dtype))
        return plain(module, weight_of, dtype)

    monkeypatch.setattr(component_folders, "filled", filled)
    model = load_model(folder, dtype=torch.bfloat16)
    wide = {name for name, dtype in asked if dtype == torch.float32}
    assert wide == {"AutoencoderKL"}
    assert len(asked) == 4
    assert model.same_weights(load_model(folder).to(dtype=torch.bfloat16))


@pytest.mark.parametrize(("kind", "setting"), [("qwen-image", "rms_norm_eps"), ("lumina2", "query_pre_attn_scalar")])
def test_the_settings_of_a_language_model_are_part_of_the_fingerprint(kind, setting, tmp_path):
    folder = random_pipelines.folder_of(kind, tmp_path / "m")
    before, path = load_model(folder).fingerprint, folder / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    words = config.get("text_config", config)
    words[setting] = 2 * words[setting]
    path.write_text(json.dumps(config))
    assert load_model(folder).fingerprint != before
