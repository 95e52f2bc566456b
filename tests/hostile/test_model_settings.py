"""What a model's files say of it: schedules, scaling, sizes, tokenizers, types; what is unknown is refused by name."""

import inspect
import json
import os
import re
import shutil
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline

import tiny
from intaglio import cli
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.noise_schedule import DISCRETE_CLASSES, NoiseSchedule
from intaglio.models.diffusion.unknown_settings import SCHEDULER_SETTINGS
from intaglio.models.lora.lora import LoRA
from model_edits import edit, single_file

UNET, VAE, TEXT, INDEX = "unet/config.json", "vae/config.json", "text_encoder/config.json", "model_index.json"
SCHEDULER, WORDS = "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"
NAN = float("nan")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("shipped")
    return {"sd": tiny.sd_folder(root / "sd"), "sdxl": tiny.sdxl_folder(root / "sdxl")}


@pytest.fixture
def folder(shipped, tmp_path) -> Path:
    return Path(shutil.copytree(shipped["sd"], tmp_path / "model"))


@pytest.fixture
def large(shipped, tmp_path) -> Path:
    return Path(shutil.copytree(shipped["sdxl"], tmp_path / "large"))


# Schedulers

EDM = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "num_train_timesteps": 1000, "rho": 7.0}
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"_class_name": "EDMDPMSolverMultistepScheduler", **EDM},
            "scheduler EDMDPMSolverMultistepScheduler.*EDM.*trained on discrete timesteps",
        ),
        ({"_class_name": "EDMEulerScheduler", **EDM}, "EDM"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, "flow matching"),
        ({"_class_name": "FlowMatchHeunDiscreteScheduler", **SD}, "flow matching"),
        ({"_class_name": "CosineDPMSolverMultistepScheduler"}, "cosine"),
        ({"_class_name": "ScoreSdeVeScheduler"}, "continuous"),
        ({"_class_name": "IPNDMScheduler"}, "IPNDMScheduler"),
        ({"_class_name": "MyScheduler", **SD}, "MyScheduler"),
        ({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True, **SD}, "flow matching"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous", **SD}, "continuous"),
        ({"_class_name": "DDIMScheduler", "prediction_type": "flow_prediction", **SD}, "is not supported.*epsilon"),
        ({"_class_name": "DDIMScheduler", "num_train_timesteps": 1000}, "none of beta_start, beta_end"),
        ({}, "none of beta_start"),
        ({"_class_name": 5, **SD}, "_class_name 5"),
        ({"_class_name": "DDIMScheduler", **SD, "beta_start": NAN}, "beta_start nan, where a number from 0 to 1"),
        ({"_class_name": "DDIMScheduler", **SD, "beta_start": "abc"}, "beta_start 'abc'"),
        ({"_class_name": "DDIMScheduler", **SD, "beta_end": -1}, "beta_end -1"),
        ({"_class_name": "DDIMScheduler", **SD, "beta_end": 1e9}, "beta_end"),
        ({"_class_name": "DDIMScheduler", **SD, "beta_start": 0.0}, "beta_start to beta_end"),
        ({"_class_name": "DDIMScheduler", **SD, "num_train_timesteps": -5}, "num_train_timesteps -5"),
        ({"_class_name": "DDIMScheduler", **SD, "num_train_timesteps": 10**12}, "num_train_timesteps"),
        ({"_class_name": "DDIMScheduler", **SD, "num_train_timesteps": 0.5}, "num_train_timesteps 0.5"),
        ({"_class_name": "DDIMScheduler", "trained_betas": "x"}, "trained_betas 'x'"),
        ({"_class_name": "DDIMScheduler", "trained_betas": []}, "0 trained_betas"),
        ({"_class_name": "DDIMScheduler", "trained_betas": [0.1, NAN]}, "trained_betas"),
        ({"_class_name": "DDIMScheduler", "trained_betas": [0.1, 3.0]}, "trained_betas outside"),
        ({"_class_name": "DDIMScheduler", **SD, "prediction_type": 5}, "prediction_type 5"),
        ({"_class_name": "DDIMScheduler", **SD, "rescale_betas_zero_snr": "yes"}, "rescale_betas_zero_snr 'yes'"),
    ],
)
def test_a_scheduler_that_is_not_known_is_refused_by_name(folder, settings, words) -> None:
    (folder / SCHEDULER).write_text(json.dumps(settings))
    with pytest.raises(BadInput, match=f"scheduler_config.json.*{words}"):
        load_model(folder)


def test_schedulers_in_use_are_read(folder) -> None:
    DPMSolverMultistepScheduler(**SD).save_pretrained(folder / "scheduler")
    assert "-Infinity" in (folder / SCHEDULER).read_text(), "Python wrote what is no JSON"
    usual = NoiseSchedule.from_config(SD)
    assert load_model(folder).schedule.same_as(usual)
    for name in ("PNDM", "DDPM", "EulerDiscrete", "EulerAncestralDiscrete", "LMSDiscrete", "UniPCMultistep", "LCM"):
        # As files of any age say it: with nulls, and with entries of other versions.
        settings = {"_class_name": f"{name}Scheduler", **SD, "trained_betas": None, "skip_prk_steps": True}
        (folder / SCHEDULER).write_text(json.dumps(settings))
        assert load_model(folder).schedule.same_as(usual)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of diffusers with the numpy of today
def test_missing_betas_are_those_of_the_class() -> None:
    from diffusers import HeunDiscreteScheduler, KDPM2DiscreteScheduler, LCMScheduler, PNDMScheduler, TCDScheduler

    for kind in (HeunDiscreteScheduler, KDPM2DiscreteScheduler, LCMScheduler, PNDMScheduler, TCDScheduler):
        found = NoiseSchedule.from_config({"_class_name": kind.__name__, "num_train_timesteps": 1000})
        assert torch.allclose(found.alphas_cumprod.float(), kind().alphas_cumprod, rtol=1e-3)


# Autoencoders


def test_the_latents_mean_and_deviation_are_applied(large) -> None:
    mean, deviation = [-1.6, 1.1, 0.3, -2.6], [8.4, 5.9, 6.5, 5.2]
    plain = load_model(large)
    edit(large / VAE, latents_mean=mean, latents_std=deviation)
    model, pixels = load_model(large), tiny.pixels(2)
    first, second = (torch.tensor(column).view(1, 4, 1, 1) for column in (mean, deviation))
    raw = plain.encode(pixels) / 0.5
    assert torch.allclose(model.encode(pixels), (raw - first) * 0.5 / second, atol=1e-5)
    assert torch.allclose(model.decode(model.encode(pixels)), plain.decode(plain.encode(pixels)), atol=1e-5)
    assert model.notes == ()
    said = " ".join(model.differences(plain))
    assert "latents_mean" in said
    assert "latents_std" in said
    # And as diffusers decodes them.
    pipeline = StableDiffusionXLPipeline.from_pretrained(large)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    latents = pipeline("cat", num_inference_steps=1, generator=generator, output_type="latent", height=16, width=16)
    generator = torch.Generator().manual_seed(0)
    drawn = pipeline("cat", num_inference_steps=1, generator=generator, output_type="pt", height=16, width=16).images
    assert torch.allclose(model.decode(latents.images), drawn, atol=1e-4)


def test_a_shift_is_undone_by_decoding(folder) -> None:
    plain = load_model(folder)
    edit(folder / VAE, shift_factor=0.25)
    model, pixels = load_model(folder), tiny.pixels(1)
    assert torch.allclose(model.encode(pixels), plain.encode(pixels) - 0.25 * 0.5, atol=1e-6)
    assert torch.allclose(model.decode(model.encode(pixels)), plain.decode(plain.encode(pixels)), atol=1e-5)
    assert "shift factor (0.25 and 0.0)" in " ".join(model.differences(plain))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scaling_factor": 0}, "scaling_factor 0, where a number from 1e-06"),
        ({"scaling_factor": -0.5}, "scaling_factor -0.5"),
        ({"scaling_factor": NAN}, "scaling_factor nan"),
        ({"scaling_factor": float("inf")}, "scaling_factor inf"),
        ({"scaling_factor": None}, "lacks scaling_factor"),
        ({"scaling_factor": "x"}, "scaling_factor 'x'"),
        ({"scaling_factor": True}, "scaling_factor True"),
        ({"scaling_factor": 1e39}, r"scaling_factor 1e\+39"),
        ({"scaling_factor": 1e-30}, "scaling_factor 1e-30"),
        ({"shift_factor": 1e39}, "shift_factor"),
        ({"latents_mean": [1e39] * 4, "latents_std": [1.0] * 4}, r"latents_mean beyond 1e\+06"),
        ({"force_upcast": []}, r"force_upcast \[\], where true or false"),
        ({"use_quant_conv": "no"}, "use_quant_conv 'no'"),
        ({"shift_factor": NAN}, "shift_factor nan"),
        ({"shift_factor": "x"}, "shift_factor 'x'"),
        ({"latents_mean": [0.0] * 4}, "only one of latents_mean and latents_std"),
        ({"latents_mean": [0.0] * 3, "latents_std": [1.0] * 3}, "latents_mean .*a list of 4 numbers"),
        ({"latents_mean": [0.0] * 4, "latents_std": [1.0, 1.0, 1.0, NAN]}, "latents_std"),
        ({"latents_mean": [0.0] * 4, "latents_std": [1.0, 1.0, 1.0, 0.0]}, "latents_std that is not above 0"),
        ({"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4, "shift_factor": 1.0}, "both a shift_factor"),
        ({"latent_channels": 0}, "latent_channels 0"),
        ({"layers_per_block": 10**6}, "describes 1000000 layers"),
        ({"block_out_channels": [4, 10**9]}, "block_out_channels"),
        ({"block_out_channels": [4, 16]}, "in shape"),
        ({"norm_num_groups": 0}, "norm_num_groups 0"),
        ({"norm_num_groups": 3}, "cannot be read"),
        ({"_class_name": "AutoencoderTiny"}, "AutoencoderTiny, not an AutoencoderKL"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, r"quantized weights \(bitsandbytes\)"),
    ],
)
def test_an_autoencoder_s_settings_are_checked(folder, changes, words) -> None:
    edit(folder / VAE, **changes)
    with pytest.raises(BadInput, match=words):
        load_model(folder)


# Denoisers, text encoders, the index


def test_a_text_encoder_that_says_how_it_returns_is_used_all_the_same(shipped, folder) -> None:
    edit(folder / TEXT, return_dict=False)
    said = [load_model(place).embed(["cat"]).hidden for place in (folder, shipped["sd"])]
    assert torch.equal(*said)


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        (UNET, {"layers_per_block": 10**6}, "describes 1000000 layers, where the files beside it hold"),
        (UNET, {"layers_per_block": [10**6, 1]}, "describes 1000000 layers"),
        (UNET, {"transformer_layers_per_block": 10**6}, "describes"),
        (UNET, {"transformer_layers_per_block": [[10**6], [1]]}, "describes"),
        (UNET, {"transformer_layers_per_block": -1}, "transformer_layers_per_block -1"),
        (UNET, {"layers_per_block": 40, "transformer_layers_per_block": 40}, "describes 1600 layers"),
        (UNET, {"block_out_channels": [8] * 100_000}, "describes 100000 layers"),
        (UNET, {"block_out_channels": [8, 10**9]}, "block_out_channels"),
        (UNET, {"block_out_channels": [8, 16384]}, "in shape"),
        (UNET, {"layers_per_block": "x"}, "layers_per_block 'x'"),
        (UNET, {"layers_per_block": 0}, "layers_per_block 0"),
        (UNET, {"layers_per_block": 2}, "lacks"),
        (UNET, {"sample_size": "8"}, "sample_size '8'"),
        (UNET, {"sample_size": -8}, "sample_size -8"),
        (UNET, {"sample_size": 10**9}, "sample_size"),
        (UNET, {"sample_size": 8.5}, "sample_size"),
        (UNET, {"sample_size": True}, "sample_size True"),
        (UNET, {"attention_head_dim": 0}, "attention_head_dim 0"),
        (UNET, {"attention_head_dim": 10**12}, "attention_head_dim"),
        (UNET, {"cross_attention_dim": {}}, "cross_attention_dim"),
        (UNET, {"in_channels": 0}, "in_channels 0"),
        (UNET, {"_class_name": ["x"]}, "not a UNet2DConditionModel"),
        (UNET, {"_class_name": None}, "says no _class_name, where a UNet2DConditionModel is due"),
        (UNET, {"quantization_config": {}}, ""),
        (UNET, {"quantization_config": "x"}, "quantized"),
        (UNET, {"center_input_sample": "no"}, "center_input_sample 'no', where true or false is due"),
        (UNET, {"flip_sin_to_cos": "false"}, "flip_sin_to_cos 'false'"),
        (UNET, {"upcast_attention": "x"}, "upcast_attention 'x'"),
        (UNET, {"only_cross_attention": "no"}, "only_cross_attention 'no'"),
        (UNET, {"only_cross_attention": [False, 1]}, "only_cross_attention"),
        (UNET, {"freq_shift": NAN}, "freq_shift nan"),
        (UNET, {"norm_eps": NAN}, "norm_eps nan"),
        (UNET, {"norm_eps": -1}, "norm_eps -1, where a number from 0 to 1"),
        (UNET, {"mid_block_scale_factor": 0}, "mid_block_scale_factor 0"),
        (UNET, {"resnet_out_scale_factor": 0}, "resnet_out_scale_factor 0"),
        (UNET, {"downsample_padding": 100_000}, "downsample_padding 100000, where a whole number from 0 to 16"),
        (UNET, {"conv_out_kernel": 1001}, "conv_out_kernel 1001"),
        (UNET, {"dropout": 2.0}, "dropout 2.0"),
        (UNET, {"dropout": 0, "freq_shift": 0.0, "upcast_attention": None, "mid_block_scale_factor": 1.0}, ""),
        (UNET, {"act_fn": "bogus"}, "cannot be read"),
        (TEXT, {"num_attention_heads": 0}, "num_attention_heads 0"),
        (TEXT, {"num_attention_heads": 3}, "do not divide hidden_size 16"),
        (TEXT, {"num_hidden_layers": 10**6}, "describes 1000000 layers"),
        (TEXT, {"hidden_size": 10**9}, "hidden_size"),
        (TEXT, {"vocab_size": 10**12}, "vocab_size"),
        (TEXT, {"vocab_size": "x"}, "vocab_size 'x'"),
        (TEXT, {"max_position_embeddings": 10**12}, "max_position_embeddings"),
        (TEXT, {"max_position_embeddings": 60000}, "in shape"),
        (TEXT, {"layer_norm_eps": NAN}, "layer_norm_eps nan"),
        (TEXT, {"layer_norm_eps": -1}, "layer_norm_eps -1"),
        (TEXT, {"hidden_act": 5}, "hidden_act 5"),
        (TEXT, {"hidden_act": "bogus"}, "cannot be read"),
        (TEXT, {"eos_token_id": [1, 2]}, r"eos_token_id \[1, 2\], where a whole number"),
        (TEXT, {"eos_token_id": None}, "lacks eos_token_id"),
        (TEXT, {"dtype": "float99"}, "text_encoder cannot be read .*float99"),
        (TEXT, {"attention_dropout": "x"}, "attention_dropout"),
        (TEXT, {"initializer_range": "x"}, "initializer_range"),
        (TEXT, {"initializer_factor": "x"}, "initializer_factor"),
        (TEXT, {"pad_token_id": "x"}, "pad_token_id"),
        (TEXT, {"num_labels": "x"}, "text_encoder cannot be read"),
        (TEXT, {"model_type": "roberta"}, "text encoder of type roberta"),
        (TEXT, {"model_type": "t5"}, "text encoder of type t5"),
        (TEXT, {"quantization_config": {"quant_method": "bitsandbytes"}}, "bitsandbytes"),
        (INDEX, {"_class_name": 5}, "_class_name 5"),
        (INDEX, {"unet": 5}, "unet 5, where a library and a class are due"),
        (INDEX, {"unet": []}, "unet"),
        (INDEX, {"unet": [5, 5]}, "unet"),
        (INDEX, {"unet": [None, None]}, "has no unet"),
        (INDEX, {"": 1}, ""),
        (INDEX, {"_class_name": ["my_pipeline", "MyPipeline"]}, ""),
        (INDEX, {"_class_name": "StableDiffusion3Pipeline"}, "a transformer denoiser"),
        (WORDS, {"model_max_length": 0}, "model_max_length 0"),
        (WORDS, {"model_max_length": -1}, "model_max_length -1"),
        (WORDS, {"model_max_length": "x"}, "model_max_length 'x'"),
        (WORDS, {"model_max_length": 7.5}, "model_max_length 7.5"),
    ],
)
def test_settings_are_checked_by_type_range_and_size(folder, file, changes, words) -> None:
    edit(folder / file, **changes)
    if not words:
        assert load_model(folder).notes == ()
        return
    with pytest.raises(BadInput, match=words):
        load_model(folder)


def test_a_block_without_transformer_layers_is_read(folder) -> None:
    edit(folder / UNET, transformer_layers_per_block=[1, 0])  # as in SSD-1B; here it leaves the middle's layer unread
    (note,) = load_model(folder).notes
    assert "are not used (mid_block" in note


@pytest.mark.parametrize("file", [UNET, VAE, TEXT, INDEX, SCHEDULER, WORDS])
@pytest.mark.parametrize(
    ("content", "words"), [("[" * 100_000, "nests too deep"), ("[1]", "holds a list"), ("", "no readable JSON")]
)
def test_json_that_cannot_be_read_is_named(folder, file, content, words) -> None:
    (folder / file).write_text(content)
    with pytest.raises(BadInput, match=f"{file} .*{words}"):
        load_model(folder)


@pytest.mark.parametrize("file", [UNET, INDEX, SCHEDULER, WORDS, "unet/diffusion_pytorch_model.safetensors"])
def test_a_pipe_is_not_waited_for(folder, file) -> None:
    (folder / file).unlink()
    os.mkfifo(folder / file)
    with pytest.raises(BadInput, match="is a pipe"):
        load_model(folder)


def test_a_pipe_as_a_model_is_not_waited_for(folder, tmp_path) -> None:
    os.mkfifo(tmp_path / "x.safetensors")
    for given in ({"path": tmp_path / "x.safetensors"}, {"path": folder, "lora": tmp_path / "x.safetensors"}):
        with pytest.raises(BadInput, match="is a pipe"):
            load_model(**given)


# Settings that nothing reads


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        (UNET, {"my_new_option": True}, "says my_new_option, which UNet2DConditionModel does not have"),
        (UNET, {"a": 1, "b": 2, "c": 3, "d": 4}, "says a, b, c and 1 more, which"),
        (VAE, {"wavelet_patch": 2}, "says wavelet_patch, which AutoencoderKL does not have"),
        (TEXT, {"rope_theta": 5}, "says rope_theta, which a text encoder of CLIP does not have"),
        (SCHEDULER, {"sigma_data": 0.5}, "says sigma_data, which no scheduler for discrete timesteps has"),
        (SCHEDULER, {"predict_epsilon": False}, "predict_epsilon"),
        (SCHEDULER, {"trained_betas": [0.1, 0.2, 0.3]}, "3 trained_betas, and says num_train_timesteps 1000"),
        (INDEX, {"unet": ["diffusers", "FluxTransformer2DModel"]}, "names unet as FluxTransformer2DModel"),
        (INDEX, {"text_encoder_2": ["transformers", "CLIPTextModel"]}, "names text_encoder_2, which .* lacks"),
        (INDEX, {"tokenizer_2": ["transformers", "CLIPTokenizer"]}, "names tokenizer_2, which .* lacks"),
    ],
)
def test_settings_that_nothing_reads_are_told_of(folder, file, changes, words) -> None:
    edit(folder / file, **changes)
    (note,) = load_model(folder).notes
    assert re.search(f"{re.escape(str(folder / file))} .*{words}", note)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        (UNET, {"_private": 5, "decay": 0.9999, "optimization_step": 10, "use_ema_warmup": True, "power": 0.7}),
        (UNET, {"not_set": None, "time_embedding_act_fn": None, "torch_dtype": "float16"}),
        (VAE, {"_name_or_path": "../sdxl-vae/", "force_upcast": True, "latents_mean": None}),
        (
            TEXT,
            {"dropout": 0.0, "torch_dtype": "float16", "gradient_checkpointing": False, "transformers_version": "4"},
        ),
        (TEXT, {"pruned_heads": {}, "top_k": 50, "temperature": 1.0, "use_bfloat16": False, "num_beams": 1}),
        (SCHEDULER, {"skip_prk_steps": True, "solver_order": 2, "predict_epsilon": True, "tensor_format": "pt"}),
        (SCHEDULER, {"trained_betas": [0.001, 0.002], "num_train_timesteps": 2}),
        (INDEX, {"text_encoder_2": [None, None], "tokenizer_2": [None, None], "image_encoder": [None, None]}),
    ],
)
def test_settings_that_published_files_have_are_not_told_of(folder, file, changes) -> None:
    edit(folder / file, **changes)
    assert load_model(folder).notes == ()


def test_every_setting_of_a_scheduler_in_use_is_known() -> None:
    for name in DISCRETE_CLASSES - {"DPMSolverSDEScheduler"}:  # which asks for a package of its own
        known = inspect.signature(getattr(diffusers, name).__init__).parameters
        assert set(known) - {"self", "args", "kwargs"} <= SCHEDULER_SETTINGS


# The size of the pictures


@pytest.mark.filterwarnings("ignore::FutureWarning")  # diffusers says what it mends
@pytest.mark.parametrize(
    ("version", "side", "expected"),
    [
        ("0.6.0", 32, 128),
        ("0.8.1", 8, 128),
        ("0.2.2", 64, 128),
        ("0.8.0", 96, 192),
        ("0.9.0", 32, 64),
        ("0.10.2", 32, 64),
        ("0.30.0.dev0", 32, 64),
        (None, 32, 64),
        (5, 32, 64),
    ],
)
def test_old_folders_draw_at_the_size_that_diffusers_draws_at(folder, version, side, expected) -> None:
    edit(folder / UNET, drop=["_diffusers_version"], sample_size=side)
    if version is not None:
        edit(folder / UNET, _diffusers_version=version)
    model = load_model(folder)
    assert model.resolution == expected
    assert len(model.notes) == (expected != 2 * side)
    assert all("an error of diffusers before 0.9" in note for note in model.notes)
    if isinstance(version, str):
        pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
        assert pipeline.unet.config.sample_size * pipeline.vae_scale_factor == expected


def test_an_old_size_is_not_mended_where_diffusers_does_not(large) -> None:
    edit(large / UNET, sample_size=32, _diffusers_version="0.6.0")
    assert (load_model(large).resolution, load_model(large).notes) == (64, ())


# Tokenizers


def without_vocabulary(folder: Path) -> Path:
    (folder / "tokenizer/tokenizer.json").unlink()
    return folder / "tokenizer"


def as_vocab_and_merges(folder: Path) -> Path:
    """Writes the tokenizer in the two files of earlier versions of transformers."""
    known = json.loads((folder / "tokenizer/tokenizer.json").read_text())["model"]
    words = without_vocabulary(folder)
    (words / "vocab.json").write_text(json.dumps(known["vocab"]))
    (words / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, known["merges"]), ""]))
    return words


def test_a_tokenizer_without_its_vocabulary_is_refused(folder, tmp_path, capsys) -> None:
    words = without_vocabulary(folder)
    said = r"tokenizer has no vocabulary \(neither tokenizer\.json, nor vocab\.json with merges\.txt\)"
    with pytest.raises(BadInput, match=said):
        load_model(folder)
    single_file(tmp_path / "a.safetensors")
    shutil.copytree(words, tmp_path / "like/tokenizer")
    with pytest.raises(BadInput, match=said):
        load_model(tmp_path / "a.safetensors", like=tmp_path / "like")
    assert cli.main(["sample", "--model", str(folder), "--prompt", "cat", "--out", str(tmp_path / "out")]) == 2
    assert "has no vocabulary" in capsys.readouterr().err


def test_the_two_files_of_an_earlier_tokenizer_are_read(shipped, folder) -> None:
    words = as_vocab_and_merges(folder)
    assert load_model(folder).fingerprint == load_model(shipped["sd"]).fingerprint
    (words / "merges.txt").unlink()
    with pytest.raises(BadInput, match="has no vocabulary"):
        load_model(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "special_tokens_map.json", "added_tokens.json", "merges.txt"])
def test_a_pipe_or_a_device_among_a_tokenizer_s_files_is_refused(folder, name) -> None:
    place = folder / "tokenizer" / name
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    with pytest.raises(BadInput, match=f"{name} is a pipe"):
        load_model(folder)
    place.unlink()
    place.symlink_to("/dev/zero")
    with pytest.raises(BadInput, match=f"{name} is a device"):
        load_model(folder)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 0}, "tokenizer cannot be read"),
        ({"vocab": {"a": 0}, "merges": []}, "tokenizer cannot be read"),
        ({"vocab": {"<|startoftext|>": 0, "<|endoftext|>": 1}, "merges": []}, "knows none of the words"),
    ],
)
def test_a_tokenizer_that_knows_no_word_is_refused(folder, model, words) -> None:
    path = folder / "tokenizer/tokenizer.json"
    known = json.loads(path.read_text())
    edit(path, model={**known["model"], **model})
    with pytest.raises(BadInput, match=words):
        load_model(folder)


# Tokenizers beside text encoders


@pytest.mark.parametrize(
    ("length", "words"),
    [(None, "does not say how many"), (1e30, "does not say"), (10**30, "does not say"), (77, "says 77 tokens")],
)
def test_a_length_that_is_unsaid_or_too_great_is_the_encoder_s(folder, length, words) -> None:
    edit(folder / WORDS, drop=["model_max_length"])
    if length is not None:
        edit(folder / WORDS, model_max_length=length)
    model = load_model(folder)
    (note,) = model.notes
    assert words in note
    assert f"{tiny.LENGTH} are used" in note
    assert model.embed(["a red cat"]).hidden.shape == (1, tiny.LENGTH, 16)
    assert model.fingerprint == load_model(folder).fingerprint


def test_a_folder_without_a_length_is_drawn_from(folder, tmp_path, capsys) -> None:
    edit(folder / WORDS, drop=["model_max_length"])
    words = ["--prompt", "cat", "--steps", "1", "--out", str(tmp_path / "out")]
    assert cli.main(["sample", "--model", str(folder), *words]) == 0
    assert "does not say how many tokens" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_tokenizer_of_more_words_than_the_encoder_knows_is_refused(folder, large) -> None:
    for model, part in ((folder, "tokenizer"), (large, "tokenizer_2")):
        tokens = tiny.tokenizer()
        tokens.add_tokens(["<sks>"])
        tokens.save_pretrained(model / part)
    said = "has tokens up to number 196, its text encoder embeddings for 196"
    with pytest.raises(BadInput, match=f"its tokenizer {said}"):
        load_model(folder)


def test_words_that_no_tokenizer_writes_are_told_of(folder) -> None:
    encoder = load_model(folder).text_encoders[0]
    encoder.resize_token_embeddings(200, mean_resizing=False)
    encoder.save_pretrained(folder / "text_encoder")
    (note,) = load_model(folder).notes
    assert note == "a text encoder has embeddings for 200 tokens, of which its tokenizer writes only 196"


def test_an_encoder_that_looks_for_another_end_of_a_prompt_is_refused(large) -> None:
    edit(large / "text_encoder_2/config.json", eos_token_id=2)  # as earlier versions of transformers wrote it
    assert load_model(large).notes == ()
    edit(large / "text_encoder_2/config.json", eos_token_id=100)
    with pytest.raises(BadInput, match="its tokenizer 2 ends prompts with token 195, where its text encoder looks for"):
        load_model(large)


# Marks of single files


@pytest.mark.parametrize(
    ("metadata", "keys", "expected"),
    [
        ({}, {}, "epsilon"),
        ({}, {"v_pred": torch.zeros(0)}, "v_prediction"),
        ({"modelspec.prediction_type": "v"}, {}, "v_prediction"),
        ({"modelspec.prediction_type": "V"}, {}, "v_prediction"),
        ({"modelspec.prediction_type": "v-prediction"}, {}, "v_prediction"),
        ({"modelspec.prediction_type": ""}, {}, "epsilon"),
        ({"modelspec.prediction_type": "epsilon"}, {"v_pred": torch.zeros(0)}, "v_prediction"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v/checkpoint"}, {}, "v_prediction"),
        ({"modelspec.architecture": "stable-diffusion-v1"}, {}, "epsilon"),
    ],
)
def test_a_single_file_s_prediction_type_is_read(shipped, tmp_path, metadata, keys, expected) -> None:
    path = tmp_path / "a.safetensors"
    single_file(path, metadata=metadata, **keys)
    model = load_model(path, like=shipped["sd"])
    assert model.schedule.prediction == expected
    contradicted = bool(keys) and "modelspec.prediction_type" in metadata
    assert contradicted == any("metadata that say epsilon" in note for note in model.notes)


@pytest.mark.parametrize("word", ["flow", "sample", "edm"])
def test_a_single_file_s_unknown_prediction_type_is_refused(shipped, tmp_path, word) -> None:
    single_file(tmp_path / "a.safetensors", metadata={"modelspec.prediction_type": word})
    with pytest.raises(BadInput, match=f"'{word}', which is not supported"):
        load_model(tmp_path / "a.safetensors", like=shipped["sd"])


def test_a_single_file_s_own_noise_schedule_is_used(shipped, tmp_path) -> None:
    usual = NoiseSchedule.from_config(SD)
    other = NoiseSchedule.from_config({**SD, "rescale_betas_zero_snr": True})
    path = tmp_path / "a.safetensors"
    for own, expected, told in (
        (usual.alphas_cumprod.float(), usual, False),
        (usual.alphas_cumprod.half(), usual, False),
        (other.alphas_cumprod.float(), other, True),
        (torch.zeros(9), usual, True),
        (usual.alphas_cumprod.flip(0), usual, True),
        (usual.alphas_cumprod.float() * NAN, usual, True),
    ):
        single_file(path, alphas_cumprod=own)
        model = load_model(path, like=shipped["sd"])
        assert torch.allclose(model.schedule.signals, expected.signals, atol=1e-3)
        assert any("alphas_cumprod" in note for note in model.notes) == told
    single_file(path, ztsnr=torch.zeros(0), alphas_cumprod=usual.alphas_cumprod.float())
    assert load_model(path, like=shipped["sd"]).schedule.same_as(other)
    single_file(path, metadata={"ss_zero_terminal_snr": "True"})
    assert load_model(path, like=shipped["sd"]).schedule.same_as(other)


# Folders that hold a model somewhere else


def test_what_lies_in_a_folder_without_a_model_is_named(folder, tmp_path) -> None:
    place = tmp_path / "checkpoint-500"
    place.mkdir()
    for name in ("optimizer.bin", "random_states_0.pkl"):
        (place / name).write_bytes(b"PK\3\4")
    (place / "pytorch_model.bin").write_bytes(b"PK\3\4")
    with pytest.raises(BadInput, match=r"only pickled weights \(pytorch_model\.bin\)"):
        load_model(place)
    unet = folder / "unet/diffusion_pytorch_model.safetensors"
    shutil.copy(unet, place / "model.safetensors")
    with pytest.raises(BadInput, match=r"give the file .*checkpoint-500/model\.safetensors itself"):
        load_model(place, like=folder)
    assert load_model(place / "model.safetensors", like=folder).same_weights(load_model(folder))
    (tmp_path / "out/logs").mkdir(parents=True)
    shutil.move(place, tmp_path / "out/checkpoint-500")
    with pytest.raises(BadInput, match=r"holds no model itself; give one in it, such as .*out/checkpoint-500"):
        load_model(tmp_path / "out")


def test_the_root_of_a_hub_s_cache_is_told_from_an_empty_folder(folder, tmp_path) -> None:
    snapshots = tmp_path / "models--me--mine/snapshots"
    snapshots.mkdir(parents=True)
    shutil.move(folder, snapshots / "0123abc")
    with pytest.raises(BadInput, match=r"root of a hub's cache; give .*snapshots/0123abc"):
        load_model(tmp_path / "models--me--mine")
    assert load_model(snapshots / "0123abc").notes == ()
    with pytest.raises(BadInput, match=r"is a hub's cache; give .*models--me--mine/snapshots"):
        load_model(tmp_path)


def test_a_lora_in_a_folder_of_parts_is_still_a_lora(folder, tmp_path) -> None:
    (tmp_path / "lora").mkdir()
    LoRA.new(load_model(folder), 2, 2.0, generator=torch.Generator()).write(
        tmp_path / "lora/pytorch_lora_weights.safetensors"
    )
    assert load_model(tmp_path / "lora", like=folder).name == "lora"
