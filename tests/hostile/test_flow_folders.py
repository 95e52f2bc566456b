"""Folders of flows: settings checked by type, range and size before memory is taken, and weights that are finite."""

import os
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from intaglio import cli
from intaglio.errors import BadInput
from intaglio.images.image_set import save_png
from intaglio.models.flow.tarflow_files import from_published, load_flow, save_flow
from model_edits import edit

NAN = float("nan")


@pytest.fixture
def folder(tmp_path) -> Path:
    save_flow(tiny.flow(double=False, noise_std=0.1), tmp_path / "flow", labels=("a", "b", "c"))
    return tmp_path / "flow"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_blocks": 10**9}, "num_blocks 1000000000, where a whole number from 1 to 4096"),
        ({"num_blocks": 10**9, "layers_per_block": 1}, "num_blocks 1000000000"),
        ({"num_blocks": 4000, "layers_per_block": 1}, "says 4000 layers"),
        ({"layers_per_block": 10**6}, "says 3000000 layers"),
        ({"layers_per_block": [1, 1, 10**6]}, "says 1000002 layers"),
        ({"layers_per_block": 10**12}, "layers_per_block 1000000000000, where whole numbers"),
        ({"layers_per_block": [1] * 5}, "5 numbers in layers_per_block, where 3 are due"),
        ({"layers_per_block": "x"}, "layers_per_block 'x'"),
        ({"layers_per_block": [[1], [1], [1]]}, "layers_per_block"),
        ({"num_blocks": "3"}, "num_blocks '3'"),
        ({"num_blocks": 0}, "num_blocks 0"),
        ({"num_blocks": 2.5}, "num_blocks 2.5"),
        ({"hidden_size": 10**12}, "hidden_size"),
        ({"hidden_size": 2**20, "head_dim": 16}, "is wanted"),
        ({"hidden_size": True}, "hidden_size True"),
        ({"mlp_ratio": 2**20}, "is wanted"),
        ({"image_size": [8, 2**20]}, "is wanted"),
        ({"image_size": "8"}, "image_size '8'"),
        ({"image_size": [8, 8, 8]}, "3 numbers in image_size"),
        ({"image_size": -8}, "image_size -8"),
        ({"patch_size": 0}, "patch_size 0"),
        ({"num_classes": -1}, "num_classes -1"),
        ({"num_classes": 2}, "is wanted"),
        ({"noise_std": NAN}, "no number"),
        ({"noise_std": "x"}, "noise_std 'x'"),
        ({"noise_std": -1}, "noise_std must not be negative"),
        ({"norm_eps": 0}, "norm_eps"),
        ({"soft_clip": 0}, "soft_clip"),
        ({"soft_clip": "x"}, "soft_clip 'x'"),
        ({"nvp": "yes"}, "nvp 'yes'"),
        ({"scale_param": "tanh"}, "tanh"),
        ({"scale_param": 5}, "scale_param 5"),
        ({"permutation": "none"}, "permutation"),
        ({"model_type": 5}, "model_type 5"),
        ({"format_version": "x"}, "format_version 'x'"),
    ],
)
def test_settings_are_checked_before_memory_is_taken(folder, changes, words) -> None:
    edit(folder / "config.json", **changes)
    began = time.process_time()
    with pytest.raises(BadInput, match=words):
        load_flow(folder)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "changes", [{"image_size": 8}, {"image_size": [8.0, 8]}, {"layers_per_block": 1}, {"soft_clip": None}]
)
def test_other_spellings_are_read(folder, changes) -> None:
    before = load_flow(folder)
    edit(folder / "config.json", **changes)
    assert load_flow(folder).fingerprint == before.fingerprint


@pytest.mark.parametrize(("content", "words"), [("[" * 10**5, "nests too deep"), ("[1]", "holds a list"), ("", "JSON")])
def test_json_that_cannot_be_read_is_named(folder, content, words) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(BadInput, match=f"config.json .*{words}"):
        load_flow(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_is_missing_or_a_pipe_is_named(folder, name) -> None:
    (folder / name).unlink()
    with pytest.raises(BadInput, match=name):
        load_flow(folder)
    os.mkfifo(folder / name)
    with pytest.raises(BadInput, match=f"{name} is a pipe"):
        load_flow(folder)


def spoil(folder: Path, change) -> Path:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("bad", [NAN, float("inf")])
@pytest.mark.parametrize("name", ["blocks.2.layers.0.qkv.weight", "blocks.0.positions", "variance"])
def test_a_weight_that_is_not_finite_is_named(folder, name, bad) -> None:
    path = spoil(folder, lambda tensors: tensors[name].view(-1)[-1:].fill_(bad))
    with pytest.raises(BadInput, match=rf"{path} holds NaN or infinity \({name}\)"):
        load_flow(folder)


def test_weights_of_integers_are_refused(folder) -> None:
    spoil(folder, lambda tensors: tensors.update({"blocks.0.proj_in.bias": torch.zeros(32, dtype=torch.int8)}))
    with pytest.raises(BadInput, match=r"blocks\.0\.proj_in\.bias as int8, which are quantized weights"):
        load_flow(folder)


def test_names_of_classes_that_do_not_fit_are_refused(folder) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path), path, {"labels": "a\nb"})
    with pytest.raises(BadInput, match="names 2 classes, where config.json says 3"):
        load_flow(folder)


def test_published_weights_that_are_not_finite_are_named(tmp_path) -> None:
    model = tiny.flow(double=False)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tensors["blocks.1.proj_out.bias"][0] = NAN
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match=r"a\.safetensors holds NaN or infinity \(blocks\.1\.proj_out\.bias\)"):
        from_published(tmp_path / "a.safetensors", noise_std=0.1, image_size=(8, 8), head_dim=16)


@pytest.mark.parametrize("verb", ["bpd", "sample"])
def test_the_command_line_refuses_such_a_flow(folder, tmp_path, capsys, verb) -> None:
    spoil(folder, lambda tensors: [tensor.fill_(NAN) for tensor in tensors.values()])
    save_png(tiny.pixels(1, side=8)[0], tmp_path / "pictures/0.png")
    words = {
        "bpd": ["--model", str(folder), "--images", str(tmp_path / "pictures"), "--json"],
        "sample": ["sequential", "--model", str(folder), "--runs", str(tmp_path / "runs")],
    }[verb]
    assert cli.main(["flow", verb, *words]) == 2
    said = capsys.readouterr()
    assert "holds NaN or infinity" in said.err
    assert "NaN" not in said.out
