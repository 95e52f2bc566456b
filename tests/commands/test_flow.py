"""`intaglio flow`, its parts one after the other as a person would use them, on a flow of 8x8 pictures."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import tiny
from intaglio.cli import main
from intaglio.flow import decoding
from intaglio.flow.calibrate import calibration
from intaglio.images.image_set import ImageSet, read_png_text, save_png
from intaglio.models.flow import flow_folders, shipped
from intaglio.models.flow.tarflow_files import load_flow, save_flow
from intaglio.report import write_report

TRAIN = [
    "--resolution",
    "8",
    "--patch-size",
    "2",
    "--hidden-size",
    "16",
    "--head-dim",
    "8",
    "--blocks",
    "2",
    "--layers",
    "1",
    "--batch",
    "4",
    "--steps",
    "6",
    "--judge-every",
    "3",
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for place, name in enumerate(["cat", "dog"]):
        for index, picture in enumerate(tiny.pixels(6, seed=place, side=8)):
            save_png(picture, tmp_path / "pictures" / name / f"{index}.png")
    return tmp_path


@pytest.fixture
def model(folder):
    save_flow(tiny.flow(double=False, noise_std=0.1, num_classes=2), folder / "m", labels=("cat", "dog"))
    return "m"


@pytest.fixture
def outcome(capsys):
    def run(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out.strip(), err

    return run


def test_train_then_sample_weigh_and_report(outcome, folder):
    train = ["--quiet", "flow", "train", "--images", "pictures", "--classes", *TRAIN]
    code, out, err = outcome(*train)
    assert (code, err) == (0, "")
    model = load_flow(folder / out)
    assert model.labels == ("cat", "dog")
    card = (folder / out / "README.md").read_text()
    assert "6 steps of 4" in card
    assert "11 pictures, in 2 classes (cat, dog)" in card
    assert outcome(*train)[1] == out  # found again, not trained again
    trained = (folder / out).parent
    _, again, _ = outcome(
        "--quiet", "flow", "sample", "sequential", "--model", out, "--count", 4, "--label", "cat", "dog"
    )
    drawn = ImageSet.load(trained / "images" / "samples", 8)
    assert torch.equal(drawn.pixels, ImageSet.load(folder / again, 8).pixels)
    page = write_report(trained).read_text()
    assert "A flow trained on 12 pictures over 6 steps" in page
    assert page.index("seed 3") < page.index('id="loss"')
    code, shown, err = outcome(
        "--quiet", "flow", "sample", "sequential", "--model", out, "--count", 3, "--label", "dog"
    )
    assert code == 0
    assert len(ImageSet.load(folder / shown, 8)) == 3
    page = write_report((folder / shown).parents[1]).read_text()
    assert "Normalising flow" in page
    code, told, err = outcome("--quiet", "flow", "bpd", "--model", out, "--images", "pictures", "--classes", "--json")
    figures = json.loads(told)
    assert figures["pictures"] == 12
    assert figures["noisy"]
    assert 0 < figures["bits_per_dimension"] < 12


def test_a_picture_says_how_it_is_drawn_again_whatever_is_drawn_beside_it(outcome, model, folder):
    words = ["--quiet", "flow", "sample", "frontier", "--model", model, "--guidance", "0.5", "--tolerance", "1e-6"]
    _, many, _ = outcome(*words, "--count", 3, "--seed", 4, "--label", "cat", "none", "1", "--batch", 2)
    _, one, _ = outcome(*words, "--count", 1, "--seed", 6, "--label", "1")
    whole, alone = (ImageSet.load(folder / found, 8) for found in (many, one))
    assert whole.names == ("00004.png", "00005.png", "00006.png")
    assert (whole.pixels[2] - alone.pixels[0]).abs().max() <= 1 / 255
    said = json.loads(read_png_text(folder / many / "00005.png")["intaglio"])
    assert (said["seed"], said["label"], said["decoder"]) == (5, "none", "frontier")
    assert said["command"][:3] == ["flow", "sample", "frontier"]
    assert said["model"]["fingerprint"] == load_flow(folder / "m").fingerprint


def test_without_a_decoder_the_measured_plan_is_taken(outcome, model, folder, monkeypatch):
    for name, value in {"FITTED": 4, "JUDGED": 2, "PROVED": 2, "TURNS": 1, "GAIN": 0.0}.items():
        monkeypatch.setattr(calibration, name, value)
    sample = ["flow", "sample", "--model", model, "--count", 2]
    code, _, err = outcome(*sample, "--batch", 2)
    assert code == 0
    assert "no plan was measured" in err
    code, written, err = outcome("flow", "calibrate", "--model", model, "--batch", 2, "4", "--tier", "near")
    assert code == 0
    assert len(written.splitlines()) == 2
    assert re.search(r"block 2: .*\n.*block 1: .*\n.*block 0: ", err)
    assert "times as fast as patch by patch" in err
    code, _, err = outcome(*sample, "--batch", 2, "--seed", 9)
    assert code == 0, err
    assert "no plan" not in err
    assert "pictures by auto" in err


def test_previews_certificates_and_a_killed_run(outcome, model, folder, monkeypatch):
    words = ["--quiet", "flow", "sample", "jacobi", "--model", model, "--count", 4, "--batch", 2, "--certify"]
    code, shown, _ = outcome(*words, "--preview-every", 2)
    run = (folder / shown).parents[1]
    assert list((run / "images" / "preview").glob("*.png"))
    assert json.loads((run / "run.json").read_text())["summary"]["residual"] < 1
    assert not list((run / "states").glob("batch*"))
    batch, calls = decoding._finite_batch, []

    def dying(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return batch(*args)

    monkeypatch.setattr(decoding, "_finite_batch", dying)
    assert outcome(*words, "--seed", 50)[0] == 130
    monkeypatch.setattr(decoding, "_finite_batch", lambda *args: calls.append(args) or batch(*args))
    code, again, _ = outcome(*words, "--seed", 50)
    assert code == 0
    assert len(calls) == 3
    assert len(ImageSet.load(folder / again, 8)) == 4


def test_a_published_checkpoint_becomes_a_folder(outcome, folder):
    model = tiny.flow(double=False, num_classes=0)
    names = {
        "variance": "var",
        "positions": "pos_embed",
        "layers": "attn_blocks",
        "attention_norm": "attention.norm",
        "mlp_norm": "mlp.norm",
        "qkv": "attention.qkv",
        "proj": "attention.proj",
        "widen": "mlp.main.0",
        "narrow": "mlp.main.2",
    }
    theirs = {".".join(names.get(p, p) for p in key.split(".")): value for key, value in model.state_dict().items()}
    save_file(theirs, folder / "theirs.safetensors")
    words = [
        "flow",
        "convert",
        "--checkpoint",
        "theirs.safetensors",
        "--out",
        "ours",
        "--size",
        8,
        8,
        "--noise",
        "0.05",
    ]
    code, out, err = outcome(*words, "--head-dim", 16)
    assert (code, out) == (0, "ours")
    assert "3 blocks of 1-1-1 layers, width 32, 16 patches, 0 classes" in err
    assert load_flow(folder / "ours").model.config.noise_std == 0.05
    assert torch.equal(load_flow(folder / "ours").model.block(2).proj_out.weight, model.block(2).proj_out.weight)
    code, _, err = outcome(*words, "--out", "x", "--size", 8, 8, "--noise", "0", "--head-dim", 16, "--labels", "a")
    assert code == 2
    assert "1 labels for 0 classes" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("sample --model nowhere", "neither a folder nor a flow of the package"),
        ("sample --model m --label bird", "there is no class 'bird': choose from cat, dog, or none"),
        ("sample --model m --count -1", "--count must be at least 1, not -1"),
        ("sample --model m --count 0", "--count must be at least 1, not 0"),
        ("sample sejd --model m --tau 0", "tau must be above 0"),
        ("sample gs-jacobi --model m --hard-blocks 9", "there is no block 9"),
        ("sample --model m --guidance -1", "guidance scale must not be negative"),
        ("sample --model m --temperature 0", "temperature must be above 0"),
        ("simple --model m", "flow has no part 'simple'; did you mean sample"),
        ("bpd --model m --images nowhere", "nowhere"),
        ("bpd --model m --images pictures --classes --draws 0", "draws must be at least 1"),
        ("calibrate --model m --batch 0", "batch must be at least 1"),
        ("train --images pictures/cat --classes", "0 subfolders"),
        ("train --images pictures/cat --patch-size 5", "patch_size must divide 32"),
    ],
)
def test_bad_input_ends_in_one_sentence(words, sentence, outcome, model):
    code, out, err = outcome("flow", *words.split())
    assert (code, out) == (2, "")
    assert sentence in re.sub(r"\s+", " ", re.sub("[│╭╮╰╯─]", " ", err))


def test_a_class_of_pictures_that_the_model_does_not_know_is_named(outcome, model, folder):
    (folder / "pictures" / "cat").rename(folder / "pictures" / "bird")
    code, _, err = outcome("flow", "bpd", "--model", model, "--images", "pictures", "--classes")
    assert code == 2
    assert "knows no class 'bird'; it knows: cat, dog" in err


def test_the_words_of_the_group_and_its_default(outcome):
    code, out, _ = outcome("flow")
    assert code == 0
    assert {"flow train", "flow sample", "flow calibrate", "flow bpd", "flow convert"} <= set(
        re.findall(r"flow \w+", out)
    )
    assert "flow sample" in out
    code, out, _ = outcome("flow", "sample", "--help")
    assert code == 0
    assert "Without a method: auto." in out


def test_the_flows_of_the_package_are_sound(outcome):
    assert "cpu-tiny" in flow_folders.flow_names()
    for name in flow_folders.flow_names():
        flow = shipped.open_flow(name)
        assert flow.labels == ("fluent", "openmoji", "twemoji")
        code, out, _ = outcome("--quiet", "flow", "sample", "sejd", "--model", name, "--count", 1)
        assert code == 0
        assert ImageSet.load(Path(out), 32).pixels.std() > 0.05
