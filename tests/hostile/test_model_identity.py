"""The identity of a model: what its results depend on changes it, how it is spelt does not."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from intaglio import cli
from intaglio.images.image_set import save_png
from intaglio.models.diffusion.config_spelling import one_spelling
from intaglio.models.diffusion.fingerprints import PROBE
from intaglio.models.diffusion.loading import load_model
from model_edits import edit

UNET, VAE, TEXT = "unet/config.json", "vae/config.json", "text_encoder/config.json"
SCHEDULER, WORDS = "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    return tiny.sd_folder(tmp_path_factory.mktemp("shipped") / "model")


@pytest.fixture
def folder(shipped, tmp_path) -> Path:
    return Path(shutil.copytree(shipped, tmp_path / "model"))


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        (SCHEDULER, {"prediction_type": "v_prediction"}),
        (SCHEDULER, {"prediction_type": "sample"}),
        (SCHEDULER, {"beta_start": 0.0009}),
        (SCHEDULER, {"beta_end": 0.0120001}),
        (SCHEDULER, {"beta_schedule": "linear"}),
        (SCHEDULER, {"rescale_betas_zero_snr": True}),
        (SCHEDULER, {"num_train_timesteps": 999}),
        (SCHEDULER, {"timestep_spacing": "trailing"}),  # a saved copy hands it on
        (VAE, {"scaling_factor": 0.51}),
        (VAE, {"shift_factor": 0.1}),
        (VAE, {"act_fn": "gelu"}),
        (UNET, {"sample_size": 16}),
        (UNET, {"attention_head_dim": 4}),
        (UNET, {"norm_eps": 1e-4}),
        (TEXT, {"hidden_act": "gelu"}),
        (TEXT, {"eos_token_id": 2}),
        (TEXT, {"num_attention_heads": 4}),
        (WORDS, {"model_max_length": 10}),
        (WORDS, {"pad_token": "!"}),
        ("model_index.json", {"force_zeros_for_empty_prompt": False}),
    ],
)
def test_what_results_depend_on_is_in_the_fingerprint(shipped, folder, file, changes) -> None:
    edit(folder / file, **changes)
    before, after = load_model(shipped), load_model(folder)
    assert after.fingerprint != before.fingerprint
    assert after.same_weights(before)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_every_part_s_weights_are_in_the_fingerprint(shipped, folder, part) -> None:
    (path,) = (folder / part).glob("*.safetensors")
    tensors = load_file(path)
    key = next(key for key, tensor in tensors.items() if tensor.is_floating_point())
    tensors[key].view(-1)[0] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    assert load_model(folder).fingerprint != load_model(shipped).fingerprint


def test_a_schedule_that_was_replaced_in_memory_is_in_the_fingerprint(shipped) -> None:
    model = load_model(shipped)
    first, schedule = model.fingerprint, model.schedule
    model.schedule = replace(schedule, prediction="sample")
    assert model.fingerprint != first
    model.schedule = replace(schedule, signals=schedule.signals * (1 - 1e-6))
    assert model.fingerprint != first
    model.schedule = replace(schedule)
    assert model.fingerprint == first


def test_a_word_more_or_less_is_in_the_fingerprint(shipped) -> None:
    model, other = load_model(shipped), load_model(shipped)
    other.tokenizers[0].add_tokens(["<sks>"])
    assert model.fingerprint != other.fingerprint


def test_the_merges_of_a_tokenizer_are_in_the_fingerprint(shipped, folder) -> None:
    path = folder / "tokenizer/tokenizer.json"
    known = json.loads(path.read_text())["model"]
    merges = [["d", "o"], *(merge for merge in known["merges"] if merge != ["d", "o"])]
    assert merges != known["merges"]
    edit(path, model={**known, "merges": merges})
    before, after = load_model(shipped), load_model(folder)
    words = ["", PROBE, "cat dog red"]
    assert before.tokenizers[0](words).input_ids == after.tokenizers[0](words).input_ids, "only the merges differ"
    assert after.fingerprint != before.fingerprint


def test_the_place_and_the_spelling_are_not_in_the_fingerprint(shipped, folder, tmp_path) -> None:
    edit(folder / UNET, attention_head_dim=[2, 2], _diffusers_version="0.30.0", sample_size=[8, 8])
    edit(folder / "model_index.json", requires_safety_checker=True)
    model = load_model(shipped)
    assert load_model(folder).fingerprint == model.fingerprint
    model.save(tmp_path / "saved")
    assert load_model(tmp_path / "saved").fingerprint == model.fingerprint
    words = model.embed(["a red cat"])
    assert load_model(shipped).fingerprint == model.fingerprint, "use must not change it"
    assert len(words) == 1


def test_the_same_command_after_the_scheduler_was_corrected_trains_anew(folder, tmp_path, capsys) -> None:
    for number, picture in enumerate(tiny.pixels(2)):
        save_png(picture, tmp_path / "pictures" / f"{number}.png")
    few = "--prompt cat --steps 2 --batch 1 --sample-count 0 --watch-every 0 --quiet"
    places = ["--model", str(folder), "--images", str(tmp_path / "pictures"), "--runs", str(tmp_path / "runs")]
    command = ["finetune", "lora", *places, *few.split()]
    assert [cli.main(command), cli.main(command)] == [0, 0]
    first, again = capsys.readouterr().out.splitlines()
    assert first == again
    edit(folder / SCHEDULER, prediction_type="v_prediction")
    assert cli.main(command) == 0
    corrected = capsys.readouterr().out.strip()
    assert corrected != first
    assert len(list((tmp_path / "runs").glob("finetune-*"))) == 2
    assert Path(corrected).read_bytes() != Path(first).read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_head_dim": [2, 2]},
        {"transformer_layers_per_block": [1, 1]},
        {"layers_per_block": [1, 1]},
        {"cross_attention_dim": [16, 16]},
        {"only_cross_attention": [False, False]},
        {"mid_block_only_cross_attention": False},
        {"sample_size": [8, 8]},
        {"upcast_attention": None},
        {"use_linear_projection": None},
        {"dropout": 0},
        {"mid_block_scale_factor": 1.0},
        {"time_embedding_dim": 32},
        {"class_embeddings_concat": None},
        {"freq_shift": 0.0},
    ],
)
def test_equal_settings_spelt_otherwise_can_be_compared(shipped, folder, changes) -> None:
    edit(folder / UNET, **changes)
    assert load_model(folder).differences(load_model(shipped)) == []


def test_settings_that_only_look_alike_are_different(shipped, folder) -> None:
    edit(folder / UNET, attention_head_dim=[2, 4])
    (line,) = load_model(folder).differences(load_model(shipped))
    assert re.fullmatch(r"denoiser attention_head_dim \(\(2, 4\) and 2\)", line)
    # In diffusers one value for all blocks is the middle's as well, and a list is not.
    usual = {"only_cross_attention": True, "mid_block_only_cross_attention": None}
    assert one_spelling(usual)["mid_block_only_cross_attention"] is True
    assert one_spelling(usual | {"only_cross_attention": [True, True]})["mid_block_only_cross_attention"] is False


def test_a_suspect_spelt_otherwise_gets_its_verdict(tmp_path, capsys) -> None:
    base, suspect = tiny.pair_folders(tmp_path)
    edit(suspect / UNET, attention_head_dim=[2, 2], transformer_layers_per_block=[1, 1])
    for name, count, seed in (("questioned", 1, 1), ("controls", 4, 2)):
        pixels = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        for number, picture in enumerate(pixels):
            save_png(picture, tmp_path / name / f"{number}.png")
    places = ["--suspect", str(suspect), "--base", str(base), "--images", str(tmp_path / "questioned")]
    places += ["--controls", str(tmp_path / "controls"), "--runs", str(tmp_path / "runs")]
    assert cli.main(["authenticate", "loss-gap", *places, "--fpr", "0.25", "--prompt", "cat", "--quiet"]) == 0
    assert "0.png" in capsys.readouterr().out
