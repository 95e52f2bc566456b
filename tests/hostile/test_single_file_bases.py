"""A single file as the base of every verb and bench: what it lacks comes from a folder, by one flag."""

import dataclasses

import pytest

import tiny
from intaglio.cli import main
from intaglio.commands.kit.source_settings import load
from intaglio.images.image_set import save_png
from intaglio.verbs import VERBS
from model_edits import single_file

BENCHES = ("authenticate", "extract", "finetune")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model in diffusers' layout, a single file that lacks a tokenizer, and pictures."""
    folder = tmp_path_factory.mktemp("place")
    tiny.sd_folder(folder / "inn")
    single_file(folder / "guest.safetensors")
    for index, pixels in enumerate(tiny.pixels(23)):
        save_png(pixels, folder / ("mine" if index < 3 else "others") / f"{index}.png")
    return folder


COMMANDS = {
    "finetune": "finetune lora --model guest.safetensors --images mine --prompt cat --dry-run",
    "sample": "sample --model guest.safetensors --prompt cat --steps 2 --quiet --out drawn",
    "authenticate": (
        "authenticate loss-gap --suspect inn --base guest.safetensors --images mine --controls others --prompt cat "
        "--levels 1 --noises 1 --quiet"
    ),
    "extract": (
        "extract direct --suspect inn --base guest.safetensors --prompt cat --authority mine --generations 4 "
        "--pictures 2 --steps 2 --no-control --workers 1 --quiet"
    ),
}


@pytest.mark.parametrize("line", COMMANDS.values(), ids=COMMANDS)
def test_a_single_file_with_like_is_enough(line, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(place)
    words = line.split()
    if words[0] != "sample":
        words += ["--runs", str(tmp_path)]
    assert main(words) == 2
    assert "--like" in capsys.readouterr().err
    assert main([*words, "--like", "inn"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("bench", BENCHES)
def test_a_bench_reads_its_base_the_same_way(bench, place):
    kind = load(VERBS["bench"].methods[bench].target)
    assert {"model", "like"} <= {field.name for field in dataclasses.fields(kind)}
    base = kind(model=place / "guest.safetensors", like=place / "inn").base
    assert base.name == "guest"
    assert base is kind(model=place / "guest.safetensors", like=place / "inn", quick=True).base
