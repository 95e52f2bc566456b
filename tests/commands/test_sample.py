import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from PIL import Image

import tiny
from intaglio.cli import main
from intaglio.commands.kit.png_settings import DTYPES, REFERENCES, WEBUI_SAMPLERS, PictureSettings
from intaglio.commands.sample import Sample
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, read_png_text, save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA
from intaglio.sampling.guides.model_guidance import ModelGuidance
from intaglio.sampling.loop import sample
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.samplers import SAMPLERS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def drawn(folder, out):
    """A command that has drawn out/a-red-cat-3.png."""
    command = Sample(method=Plain(), model=folder, prompt=("a red cat",), seed=3, steps=2, sampler="euler_a", out=out)
    assert command() == 0
    return command


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_choices_are_those_of_the_samplers():
    hints = get_type_hints(Sample)
    assert get_args(get_args(hints["sampler"])[0]) == tuple(WEBUI_SAMPLERS) == tuple(SAMPLERS)
    assert get_args(hints["dtype"]) == DTYPES
    assert get_args(hints["reference"]) == REFERENCES


def test_pictures_are_those_of_the_library_a_seed_each(folder, out, capsys):
    command = Sample(
        method=Plain(), model=folder, prompt=("dog", "Red, cat!"), count=2, seed=7, steps=2, batch=3, out=out
    )
    assert command() == 0
    assert names(out) == ["dog-7.png", "dog-8.png", "red-cat-10.png", "red-cat-9.png"]
    assert capsys.readouterr().out == f"4 pictures by base in {out}\n"
    prompts = ["dog", "dog", "Red, cat!", "Red, cat!"]
    known = sample(load_model(folder), prompts, [7, 8, 9, 10], steps=2, batch=3)
    for place, name in enumerate(["dog-7", "dog-8", "red-cat-9", "red-cat-10"]):
        assert ImageSet.load(out / f"{name}.png", 16).hashes[0] == known.hashes[place]


def test_a_prompt_on_each_line(folder, out, tmp_path):
    (tmp_path / "prompts.txt").write_text("dog\n\n  red cat  \n", encoding="utf-8")
    Sample(method=Plain(), model=folder, prompts=tmp_path / "prompts.txt", steps=1, out=out)()
    assert names(out) == ["dog-0.png", "red-cat-1.png"]


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), (b"\n \n", "has no prompt"), (b"\xff\xfe\x00", "not UTF-8")]
)
def test_prompt_files_that_do_not_serve(folder, tmp_path, content, words):
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"prompts\.txt.*{words}"):
        Sample(method=Plain(), model=folder, prompts=path)()


def test_nothing_is_overwritten(drawn, out):
    first = (out / "a-red-cat-3.png").read_bytes()
    replace(drawn, steps=3)()
    replace(drawn, steps=4)()
    assert names(out) == ["a-red-cat-3-2.png", "a-red-cat-3-3.png", "a-red-cat-3.png"]
    assert (out / "a-red-cat-3.png").read_bytes() == first


def test_settings_are_in_the_picture(folder, out):
    Sample(
        method=Plain(), model=folder, prompt=("dog",), steps=2, sampler="dpm++2m", negative="cat", guidance=2.5, out=out
    )()
    text = read_png_text(out / "dog-0.png")
    fingerprint = load_model(folder).fingerprint
    assert text["parameters"].startswith(
        "dog\nNegative prompt: cat\nSteps: 2, Sampler: DPM++ 2M, CFG scale: 2.5, Seed: 0, Size: 16x16, "
        f"Model hash: {fingerprint[:10]}, Model: base, Version: intaglio "
    )
    known = json.loads(text["intaglio"])
    assert known["model"] == {"name": "base", "fingerprint": fingerprint, "path": os.path.relpath(folder, out)}
    assert {key: known[key] for key in ("prompt", "negative", "seed", "sampler", "steps", "guidance", "rows")} == {
        "prompt": "dog",
        "negative": "cat",
        "seed": 0,
        "sampler": "dpm++2m",
        "steps": 2,
        "guidance": 2.5,
        "rows": 1,
    }
    assert known["versions"]["torch"] == torch.__version__


def test_no_metadata_leaves_none(folder, out):
    Sample(method=Plain(), model=folder, prompt=("dog",), steps=1, metadata=False, out=out)()
    assert read_png_text(out / "dog-0.png") == {}
    with pytest.raises(BadInput, match="carries no settings"):
        Sample(method=Plain(), replay=out / "dog-0.png")()


# Replay


def test_a_picture_is_drawn_again_from_itself_alone(drawn, out, capsys):
    path = out / "a-red-cat-3.png"
    assert Sample(method=Plain(), replay=path, out=out)() == 0
    assert "all 768 values are the same" in capsys.readouterr().out
    again = out / "a-red-cat-3-replay.png"
    assert ImageSet.load(again, 16).hashes == ImageSet.load(path, 16).hashes
    assert PictureSettings.read(again).prompt == "a red cat"
    assert Sample(method=Plain(), replay=again, out=out)() == 0


def test_each_picture_of_a_batch_is_drawn_again(folder, out):
    Sample(method=Plain(), model=folder, prompt=("dog",), count=3, steps=2, sampler="heun", out=out)()
    assert [Sample(method=Plain(), replay=out / f"dog-{k}.png", out=out)() for k in range(3)] == [0, 0, 0]


def test_folder_and_pictures_as_json(folder, out, capsys):
    words = ["sample", "--model", str(folder), "--prompt", "a red cat", "--steps", "2", "--out", str(out), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"folder": str(out), "pictures": ["a-red-cat-0.png"], "prompts": ["a red cat"], "seeds": [0]}
    assert main([*words, "--count", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["pictures"], told["seeds"]) == (["a-red-cat-0-2.png", "a-red-cat-1.png"], [0, 1]), "as they are called"
    assert main(["sample", "--replay", str(out / "a-red-cat-0.png"), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pictures"] == ["a-red-cat-0-replay.png"]
    assert (told["values_that_differ"], told["values"]) == (0, 768)


def test_a_picture_that_differs_is_told_by_how_much(drawn, out, capsys):
    path = out / "a-red-cat-3.png"
    pixels = ImageSet.load(path, 16).pixels[0]
    pixels[0, 0, 0] += 3 / 255 if pixels[0, 0, 0] < 0.5 else -3 / 255
    save_png(pixels, path, read_png_text(path))
    assert Sample(method=Plain(), replay=path, out=out)() == 1
    assert "1 of 768 values differ, by at most 3 of 255" in capsys.readouterr().out


def test_another_model_is_refused_by_name(drawn, out, tmp_path):
    other = tiny.sd_folder(tmp_path / "other", seed=4)
    prints = [load_model(path).fingerprint[:16] for path in (drawn.model, other)]
    with pytest.raises(BadInput, match=rf"drawn by base \({prints[0]}\), and other \({prints[1]}\) is another"):
        Sample(method=Plain(), replay=out / "a-red-cat-3.png", model=other)()


def test_a_picture_that_names_its_model_by_the_weights_alone_is_drawn_again(drawn, out):
    path = out / "a-red-cat-3.png"
    text = read_png_text(path)
    known = json.loads(text["intaglio"])
    model = load_model(drawn.model)
    assert known["model"]["fingerprint"] == model.fingerprint != model.weights_fingerprint
    known["model"]["fingerprint"] = model.weights_fingerprint  # as earlier versions wrote it
    save_png(ImageSet.load(path, 16).pixels[0], path, {**text, "intaglio": json.dumps(known)})
    assert Sample(method=Plain(), replay=path, out=out)() == 0


def test_a_model_that_moved_can_be_named(folder, out, tmp_path):
    place = shutil.copytree(folder, tmp_path / "first")
    Sample(method=Plain(), model=place, prompt=("dog",), steps=1, out=out)()
    shutil.move(place, tmp_path / "second")
    with pytest.raises(BadInput, match=r"there is no model at .*first"):
        Sample(method=Plain(), replay=out / "dog-0.png", out=out)()
    assert Sample(method=Plain(), replay=out / "dog-0.png", out=out, model=tmp_path / "second")() == 0


def test_a_lora_is_remembered(folder, out, tmp_path):
    lora = LoRA.new(load_model(folder), 2, 2.0, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for tensor in lora.parameters():
            tensor.normal_(generator=torch.Generator().manual_seed(1))
    lora.write(tmp_path / "style.safetensors")
    Sample(method=Plain(), model=folder, prompt=("dog",), steps=2, out=out)()
    Sample(method=Plain(), model=folder, prompt=("dog",), steps=2, lora=tmp_path / "style.safetensors", out=out)()
    plain, styled = (ImageSet.load(out / name, 16).hashes for name in ("dog-0.png", "dog-0-2.png"))
    assert plain != styled
    assert Sample(method=Plain(), replay=out / "dog-0-2.png", out=out)() == 0


@pytest.mark.parametrize(
    "change",
    [{"format": 99}, {"steps": "2"}, {"sampler": "plms"}, {"dtype": "int4"}, {"rows": 0}, {"model": {}}, {"lora": 5}],
)
def test_damaged_settings_are_refused(drawn, out, change):
    path = out / "a-red-cat-3.png"
    known = {**json.loads(read_png_text(path)["intaglio"]), **change}
    save_png(torch.zeros(3, 16, 16), path, {"intaglio": json.dumps(known)})
    with pytest.raises(BadInput, match="damaged or of another version"):
        PictureSettings.read(path)


def test_files_that_are_no_pictures_of_ours(tmp_path):
    with pytest.raises(BadInput, match="is no file"):
        Sample(method=Plain(), replay=tmp_path / "nothing.png")()
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(BadInput, match="cannot be read as a PNG"):
        Sample(method=Plain(), replay=tmp_path / "text.png")()
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    with pytest.raises(BadInput, match="carries no settings"):
        Sample(method=Plain(), replay=tmp_path / "plain.png")()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "one of --prompt, --prompts and --replay"),
        ({"prompt": ("dog",), "replay": "x.png"}, "not 2"),
        ({"prompt": ("dog",), "count": 0}, "--count"),
        ({"prompt": ("dog",), "batch": 0}, "--batch"),
        ({"prompt": ("dog",), "steps": 0}, "--steps must be 1 to 1000, not 0"),
        ({"prompt": ("dog",), "guidance": float("nan")}, "--guidance"),
        ({"prompt": ("dog",), "seed": -1}, "--seed"),
    ],
)
def test_wrong_settings(settings, words, tmp_path):
    if "replay" in settings:
        settings = {**settings, "replay": tmp_path / settings["replay"]}
    with pytest.raises(ValueError, match=re.escape(words)):
        Sample(method=Plain(), **settings)


# Model guidance


@pytest.fixture(scope="module")
def tuned(folder, tmp_path_factory):
    """The folder of a fine-tune of `folder`."""
    model = load_model(folder)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parts["denoiser"].parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=generator)
    place = tmp_path_factory.mktemp("tuned") / "tuned"
    model.save(place)
    return place


def test_a_base_leads_away_from_it_and_is_kept_with_the_picture(folder, tuned, out, tmp_path):
    other = tiny.sd_folder(tmp_path / "other", 5)
    further = {"guidance": 3.0, "correction": -0.02}
    Sample(method=Plain(), model=tuned, base=folder, prompt=("dog",), steps=2, out=out, **further)()
    model, base = load_model(tuned), load_model(folder)
    expected = sample(model, ["dog"], [0], steps=2, guide=ModelGuidance(base, 3.0, -0.02))
    assert ImageSet.load(out / "dog-0.png", 16).hashes == expected.hashes
    known = json.loads(read_png_text(out / "dog-0.png")["intaglio"])
    assert known["base"] == {"name": "base", "fingerprint": base.fingerprint, "path": os.path.relpath(folder, out)}
    assert Sample(method=Plain(), replay=out / "dog-0.png", out=out)() == 0
    with pytest.raises(BadInput, match="another model; give the first by --base"):
        Sample(method=Plain(), replay=out / "dog-0.png", base=other, out=out)()


def test_a_picture_without_a_base_is_not_drawn_again_with_one(drawn, folder, out):
    with pytest.raises(BadInput, match="was drawn without a base; leave --base out"):
        Sample(method=Plain(), replay=out / "a-red-cat-3.png", base=folder)()


def test_a_base_that_is_the_model_itself_is_refused(folder):
    with pytest.raises(BadInput, match="the models are identical"):
        Sample(method=Plain(), model=folder, base=folder, prompt=("dog",), steps=1)()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"correction": 0.1}, "--correction and --reference belong to --base"),
        ({"base": Path("b")}, "--base needs --model or --lora"),
        ({"base": Path("b"), "model": Path("m"), "negative": "cat"}, "--base takes the place of --negative"),
        ({"base": Path("b"), "model": Path("m"), "guidance": 0.5}, "--guidance must be 1 or more beside --base"),
        ({"base": Path("b"), "model": Path("m"), "correction": 1.0}, "--correction must lie between -1 and 1"),
        (
            {"base": Path("b"), "model": Path("m"), "correction": 0.1, "reference": "prompt"},
            "--correction belongs to --reference empty",
        ),
    ],
)
def test_settings_of_model_guidance_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Sample(method=Plain(), prompt=("dog",), **settings)
