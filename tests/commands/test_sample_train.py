from typing import get_args

import pytest

import tiny
from intaglio.cli import main
from intaglio.commands.kit.png_settings import PictureSettings, StartName, StartRecord
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import sample
from intaglio.sampling.starts.led_noise import LedNoise
from intaglio.sampling.starts.trained_starts import FITTED
from intaglio.sampling.starts.transport import TransportStart
from intaglio.sampling.trained.captioned_latents import CaptionedLatents
from intaglio.sampling.trained.methods.invdiff import InvDiffTraining
from intaglio.sampling.trained.methods.ot import OptimalTransport
from intaglio.sampling.trained_part import TrainedPart

SETTINGS = {"states": 3, "steps": 2, "rounds": 2, "samples": 30}
WORDS = ["--states", "3", "--steps", "2", "--rounds", "2", "--samples", "30", "--prompt", "dog", "cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def file(folder, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert main(["sample", "train", "ot", "--model", str(folder), *WORDS, "--runs", str(runs)]) == 0
    (found,) = runs.glob("sample-train-ot-*/ot.safetensors")
    return found


def drawing(folder, out, *more):
    given = ["sample", "--model", str(folder), "--prompt", "dog", "cat", "--seed", "3", "--steps", "2"]
    return [*given, "--out", str(out), *more]


def test_the_file_is_what_the_library_trains_and_a_finished_run_is_found(folder, file, capsys):
    model = load_model(folder)
    part = TrainedPart.load(file, "ot", model)
    assert part.hash == OptimalTransport(**SETTINGS)(model, ["dog", "cat"]).hash
    words = ["sample", "train", "ot", "--model", str(folder), *WORDS, "--runs", str(file.parents[1])]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert str(file) in shown.out
    assert "calls of the denoiser" not in shown.err, "nothing is planned for a run that is done"
    assert not list((file.parent / "states").glob("*.safetensors"))


def test_pictures_begin_there_and_replay_from_the_file_beside_them(folder, file, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(drawing(folder, out, "--start", "ot", "--start-file", str(file))) == 0
    model = load_model(folder)
    part = TrainedPart.load(file, "ot", model)
    start = TransportStart.of(part, model, None)
    known = sample(model, ["dog", "cat"], [3, 4], steps=2, start=start)
    assert [ImageSet.load(out / f"{name}.png", 16).hashes[0] for name in ("dog-3", "cat-4")] == list(known.hashes)
    assert PictureSettings.read(out / "dog-3.png").start == StartRecord(name="ot", first=700, hash=part.hash)
    capsys.readouterr()
    replay = ["sample", "--replay", str(out / "dog-3.png"), "--out", str(tmp_path / "again")]
    assert main(replay) == 0
    assert "all 768 values are the same" in capsys.readouterr().out
    assert main([*replay, "--start-pictures", str(out)]) == 2
    assert "a start by ot; leave --start-pictures out" in " ".join(capsys.readouterr().err.split())
    (beside,) = out.glob("start-*.safetensors")
    away = beside.rename(tmp_path / "away.safetensors")
    assert main(replay) == 2
    assert "give the file that intaglio sample train ot wrote" in " ".join(capsys.readouterr().err.split())
    assert main([*replay, "--start-file", str(away)]) == 0


def test_a_search_begins_there_and_its_first_candidate_is_the_pictures_own(folder, file, tmp_path):
    more = ("--start", "ot", "--start-file", str(file))
    search = ("--search", "zero-order", "--budget", "12", "--search-verifier", "ink")
    assert main(drawing(folder, tmp_path / "found", *more, *search)) == 0
    assert main(["sample", "--replay", str(tmp_path / "found" / "dog-3.png"), "--out", str(tmp_path / "again")]) == 0
    one = ("--search", "random", "--budget", "4", "--search-verifier", "ink", "--batch", "1")
    assert main(drawing(folder, tmp_path / "one", *more, *one)) == 0
    assert main(drawing(folder, tmp_path / "none", *more, "--batch", "1")) == 0
    assert (
        ImageSet.load(tmp_path / "one" / "dog-3.png", 16).hashes
        == ImageSet.load(tmp_path / "none" / "dog-3.png", 16).hashes
    )


def test_another_file_and_another_model_are_refused(folder, file, tmp_path, capsys):
    another = tiny.sd_folder(tmp_path / "another", seed=1)
    bad = tmp_path / "bad.safetensors"
    part = TrainedPart.load(file, "ot", load_model(folder))
    changed = TrainedPart(part.trainer, part.model, part.settings, dict(part.tensors), {**part.facts, "from_step": 5})
    changed.__dict__["hash"] = part.hash
    changed.save(bad)
    for model, given, said in (
        (another, file, "was trained for another model"),
        (folder, tmp_path / "none", "does not exist"),
        (folder, bad, "was changed since it was trained"),
        (folder, folder / "unet" / "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors"),
    ):
        assert main(drawing(model, tmp_path / "out", "--start", "ot", "--start-file", str(given))) != 0
        assert said in " ".join(capsys.readouterr().err.split())
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ("--start", "ot"),
            "--start ot has no start of its own; give the file that intaglio sample train ot wrote by --start-file",
        ),
        (("--start-file", "x"), "--start unit has no use for --start-file"),
        (("--start", "ot", "--start-file", "x", "--start-pictures", "y"), "--start ot has no use for --start-pictures"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(folder, tmp_path, capsys, more, said):
    assert main(drawing(folder, tmp_path / "out", *more)) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_every_trained_start_is_one_that_a_command_takes():
    assert set(get_args(StartName)) == {"unit", *FITTED}


def test_led_noise_begins_pictures_and_replays(folder, tmp_path, capsys):
    words = ["--verifier", "colour:blue", "--steps", "2", "--updates", "2", "--batch", "2", "--blocks", "2"]
    words += ["--width", "8", "--judged", "2", "--learning-rate", "0.05", "--prompt", "dog"]
    assert main(["sample", "train", "promptgen", "--model", str(folder), *words, "--runs", str(tmp_path)]) == 0
    assert "score after" in capsys.readouterr().err
    (file,) = tmp_path.glob("sample-train-promptgen-*/promptgen.safetensors")
    out = tmp_path / "out"
    led = ["--start", "promptgen", "--start-file", str(file)]
    assert main(drawing(folder, out, *led)) == 0
    model = load_model(folder)
    start = LedNoise.of(TrainedPart.load(file, "promptgen", model), model, None)
    known = sample(model, ["dog", "cat"], [3, 4], steps=2, start=start)
    assert [ImageSet.load(out / f"{name}.png", 16).hashes[0] for name in ("dog-3", "cat-4")] == list(known.hashes)
    assert main(["sample", "--replay", str(out / "dog-3.png"), "--out", str(tmp_path / "again")]) == 0
    assert "all 768 values are the same" in capsys.readouterr().out
    refused = ["sample", "--model", str(folder), "--prompt", "dog", "--steps", "3", "--out", str(tmp_path / "no")]
    assert main([*refused, *led]) == 2
    assert "give --steps 2" in capsys.readouterr().err


BESIDE = {"steps": 2, "batch": 2, "samples": 2, "epochs": 3}
BESIDE_WORDS = ["--steps", "2", "--batch", "2", "--samples", "2", "--epochs", "3"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    found = tmp_path_factory.mktemp("pictures")
    for index, pixels in enumerate(tiny.pixels(3)):
        save_png(pixels, found / f"{index}.png")
        (found / f"{index}.txt").write_text(f"dog {index}")
    return found


def beside(folder, runs, *more):
    return ["sample", "train", "invdiff", "--model", str(folder), *BESIDE_WORDS, "--runs", str(runs), *more]


def test_a_part_is_learnt_from_a_folder_of_pictures_and_draws(folder, pictures, tmp_path, capsys):
    words = beside(folder, tmp_path / "runs", "--images", str(pictures))
    assert main(words) == 0
    (file,) = tmp_path.glob("runs/sample-train-invdiff-*/invdiff.safetensors")
    model = load_model(folder)
    learnt = CaptionedLatents.of_pictures(model, ImageSet.load(pictures, model.resolution))
    assert TrainedPart.load(file, "invdiff", model).hash == InvDiffTraining(**BESIDE)(model, learnt).hash
    assert not list((file.parent / "states").glob("*.safetensors"))
    assert main(words) == 0
    drawn = ["sample", "invdiff", "--part", str(file), *drawing(folder, tmp_path / "out")[1:]]
    capsys.readouterr()
    assert main(drawn) == 0
    assert "16 calls of the denoiser" in capsys.readouterr().err, "two pictures, two steps, two branches, two networks"
    (pictures / "2.txt").write_text("cat")
    assert main(words) == 0
    assert len(list(tmp_path.glob("runs/sample-train-invdiff-*"))) == 2, "another caption is another run"


@pytest.mark.parametrize(
    ("method", "more", "said"),
    [
        ("invdiff", (), "invdiff learns from pictures; give --images"),
        ("invdiff", ("--images", "x", "--prompt", "dog"), "leave --prompt and --prompts out"),
        ("invdiff", ("--images", "nowhere"), "nowhere"),
        ("ot", ("--images", "x"), "ot learns from pictures that the model draws; leave --images and --skip-bad out"),
        ("ot", ("--skip-bad",), "leave --images and --skip-bad out"),
    ],
)
def test_pictures_are_asked_for_where_they_are_learnt_from_and_refused_elsewhere(
    folder, tmp_path, capsys, monkeypatch, method, more, said
):
    monkeypatch.chdir(tmp_path)
    save_png(tiny.pixels(1)[0], tmp_path / "x" / "a.png")
    assert main(["sample", "train", method, "--model", str(folder), "--runs", str(tmp_path / "runs"), *more]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "runs").exists()


def test_a_picture_without_a_caption_is_named(folder, tmp_path, capsys):
    save_png(tiny.pixels(1)[0], tmp_path / "bare.png")
    assert main(beside(folder, tmp_path / "runs", "--images", str(tmp_path))) == 2
    assert "bare.png has no caption; put a .txt file" in " ".join(capsys.readouterr().err.split())
