import json
import os
import re
import signal

import pytest

import tiny
from intaglio import cli
from intaglio.images.image_set import save_png

FEW = ["--steps", "3", "--batch", "2", "--sample-count", "1", "--sample-steps", "2", "--watch-every", "0", "--quiet"]


@pytest.fixture
def base(tmp_path):
    return tiny.sd_folder(tmp_path / "base")


@pytest.fixture
def images(tmp_path):
    for index, picture in enumerate(tiny.pixels(3)):
        save_png(picture, tmp_path / "my dog" / f"{index}.png")
    return tmp_path / "my dog"


@pytest.fixture
def command(tmp_path, base, images, capsys):
    """Runs a fine-tune of the tiny model; returns the exit code, standard output and standard error."""

    def run(method, *words, few=FEW):
        places = ["--model", str(base), "--images", str(images), "--runs", str(tmp_path / "runs")]
        code = cli.main(["finetune", method, *places, *few, *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def folders(tmp_path):
    return sorted((tmp_path / "runs").glob("finetune-*")) if (tmp_path / "runs").exists() else []


def test_dreambooth_leaves_a_model_and_its_card(command, tmp_path):
    from intaglio.models.diffusion.loading import load_model

    code, out, _ = command("dreambooth", "--prompt", "red dog", "--learning-rate", "1e-3")
    (folder,) = folders(tmp_path)
    assert (code, out) == (0, f"{folder / 'model'}\n")
    assert not load_model(folder / "model").same_weights(load_model(tmp_path / "base"))
    assert "# my-dog\n" in (folder / "README.md").read_text()
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "done"
    assert record["summary"]["weights"] == "model"
    assert record["summary"]["steps"] == 3
    assert record["summary"]["reading"] == "All weights tuned (DreamBooth)"
    assert record["settings"]["learning_rate"] == 1e-3
    assert [json.loads(row)["step"] for row in (folder / "metrics" / "train.jsonl").read_text().splitlines()] == [
        1,
        2,
        3,
    ]
    assert not list((folder / "states").iterdir())


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_lora_leaves_an_adapter(command, tmp_path, layout):
    from intaglio.models.diffusion.loading import load_model
    from intaglio.models.lora.lora import LoRA

    words = ["--prompt", "red dog", "--rank", "2", "--format", layout, "--name", "sks_dog", "--text-encoder"]
    code, out, _ = command("lora", *words)
    (folder,) = folders(tmp_path)
    file = {"diffusers": "pytorch_lora_weights", "kohya": "sks_dog"}[layout]
    assert (code, out) == (0, f"{folder / file}.safetensors\n")
    assert LoRA.read(folder / f"{file}.safetensors").unmatched(load_model(tmp_path / "base")) == []


def test_the_plan_comes_first_and_a_dry_run_stops_there(command, tmp_path):
    code, out, err = command("lora", "--prompt", "dog", "--dry-run")
    assert (code, err, folders(tmp_path)) == (0, "", [])
    assert re.match(r"pictures   3\nsteps      3 of batch 2 \(2 in memory\), 2.0 epochs\ntrainable  ", out)
    loud = [word for word in FEW if word != "--quiet"]
    code, out, err = command("lora", "--prompt", "dog", few=loud)
    assert code == 0
    assert err.index("trainable") < err.index("fine-tune 0 of 3")
    _, out, _ = command("dreambooth", "--prompt", "dog", "--dry-run", "--class-prompt", "cat", "--class-count", "50")
    assert out.startswith("pictures   3 and 50 class pictures\nsteps      3 of batch 2 (4 in memory)")


def test_class_pictures_are_drawn_by_the_base_and_kept(command, tmp_path):
    words = ["--prompt", "red dog", "--class-prompt", "dog", "--class-count", "2"]
    assert command("dreambooth", *words)[0] == 0
    (folder,) = folders(tmp_path)
    assert sorted(path.name for path in (folder / "images" / "class").iterdir()) == ["0000.png", "0001.png"]
    assert "Class pictures: 2 " in (folder / "README.md").read_text()
    rows = [json.loads(row) for row in (folder / "metrics" / "train.jsonl").read_text().splitlines()]
    assert all(0 < row["prior"] < row["loss"] for row in rows)


def test_class_pictures_may_be_given(command, tmp_path, images):
    words = ["--prompt", "red dog", "--class-images", str(images), "--class-prompt", "dog"]
    assert command("dreambooth", *words)[0] == 0
    (folder,) = folders(tmp_path)
    assert "Class pictures: 3 " in (folder / "README.md").read_text()
    assert "class_images" in json.loads((folder / "run.json").read_text())["inputs"]


def test_the_same_command_goes_on_or_does_nothing(command, tmp_path, monkeypatch):
    from intaglio.runs.run import Run

    whole = Run.log
    with monkeypatch.context() as patch:

        def interrupting(self, stream, step, **numbers):
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)
            whole(self, stream, step, **numbers)

        patch.setattr(Run, "log", interrupting)
        code, _, err = command("lora", "--prompt", "dog")
        assert code == 130
        assert "interrupted" in err
    (folder,) = folders(tmp_path)
    assert json.loads((folder / "run.json").read_text())["status"] == "unfinished"
    steps = []
    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", lambda self, stream, step, **n: (steps.append(step), whole(self, stream, step, **n)))
        code, out, _ = command("lora", "--prompt", "dog", "--checkpoint-every", "1")
        again = command("lora", "--prompt", "dog", "--checkpoint-every-s", "5")
    assert (code, steps, folders(tmp_path)) == (0, [3], [folder])
    assert again[:2] == (0, out)
    command("lora", "--prompt", "dog", "--seed", "1")
    assert len(folders(tmp_path)) == 2


def test_twins_among_the_pictures_are_told(command, tmp_path, images):
    save_png(tiny.pixels(3)[1], images / "again.png")
    command("lora", "--prompt", "dog")
    (folder,) = folders(tmp_path)
    (warning,) = json.loads((folder / "run.json").read_text())["warnings"]
    assert "1.png and again.png" in warning or "again.png and 1.png" in warning


@pytest.mark.parametrize("method", ["dreambooth", "lora"])
def test_a_watched_bayesian_fine_tune_tells_what_it_saw(command, tmp_path, method):
    words = ["--bayesian", "--watch-every", "1", "--watch-count", "2", "--watch-steps", "1", "--keep", "best"]
    code, _, _ = command(method, "--prompt", "red dog", *words)
    (folder,) = folders(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    summary = record["summary"]
    seen = [json.loads(row) for row in (folder / "metrics" / "watch.jsonl").read_text().splitlines()]
    assert (code, [row["step"] for row in seen]) == (0, [0, 1, 2, 3])
    assert summary["kept_step"] in (1, 2, 3)
    assert summary["fidelity"] == seen[summary["kept_step"]]["fidelity"]
    assert summary["corruption"] == []
    assert any("likeness may stay below the plain method's" in warning for warning in record["warnings"])
    assert len(list((folder / "images" / "watch").iterdir())) == 4
    assert not list((folder / "states").iterdir())
    assert f"- Weights: of step {summary['kept_step']}" in (folder / "README.md").read_text()


def test_the_command_line_watches_by_default_and_python_does_not(command, tmp_path):
    loud = [word for word in FEW if word not in ("--watch-every", "0")]
    assert command("lora", "--prompt", "dog", "--watch-count", "2", "--watch-steps", "1", few=loud)[0] == 0
    (folder,) = folders(tmp_path)
    assert len((folder / "metrics" / "watch.jsonl").read_text().splitlines()) == 4


def test_one_picture_is_warned_of(command, tmp_path, images):
    for path in sorted(images.iterdir())[1:]:
        path.unlink()
    assert command("lora", "--prompt", "dog")[0] == 0
    (folder,) = folders(tmp_path)
    (warning,) = json.loads((folder / "run.json").read_text())["warnings"]
    assert warning.startswith("one training picture: corruption comes early")


@pytest.mark.parametrize(
    ("method", "words", "sentence"),
    [
        ("dreambooth", ["--prompt", "x", "--sigma", "0.02"], "sigma acts only with bayesian"),
        ("dreambooth", ["--prompt", "x", "--bayesian", "--text-encoder"], "text_encoder does not go with bayesian"),
        ("lora", ["--prompt", "x", "--bayesian", "--random-targets", "nowhere"], "'nowhere' in its path"),
        ("lora", ["--prompt", "x", "--keep", "best"], "keep best needs judgements"),
        ("lora", [], "0.png and 2 more have no caption; give --prompt"),
        ("lora", ["--prompt", "x", "--class-count", "2"], "--class-count needs --class-prompt"),
        ("lora", ["--prompt", "x", "--class-prompt", "y"], "--class-images FOLDER or --class-count N"),
        ("lora", ["--prompt", "x", "--class-images", "{images}", "--class-count", "2"], "not both"),
        ("lora", ["--prompt", "x", "--class-count", "-1"], "must not be negative"),
        ("dreambooth", ["--prompt", "x", "--format", "kohya"], "dreambooth writes a diffusers folder"),
        ("lora", ["--prompt", "x", "--name", "a/b"], "does not serve as a file name"),
        ("lora", ["--prompt", "x", "--rank", "0"], "rank must be at least 1"),
        ("lora", ["--prompt", "x", "--targets", "nowhere"], "nowhere"),
        ("lora", ["--prompt", "x", "--warmup", "9"], "warmup must lie in 0..steps"),
    ],
)
def test_bad_input_is_one_sentence_before_any_work(command, images, tmp_path, method, words, sentence):
    code, out, err = command(method, *(word.format(images=images) for word in words))
    assert (code, out) == (2, "")
    assert sentence in " ".join(err.split())
    assert not any((folder / "states").exists() for folder in folders(tmp_path))


def test_a_bad_picture_is_named_or_skipped(command, images, tmp_path):
    (images / "broken.png").write_bytes(b"\x89PNG\r\n")
    code, _, err = command("lora", "--prompt", "x")
    assert code == 2
    assert "broken.png" in err
    assert command("lora", "--prompt", "x", "--skip-bad")[0] == 0
    (folder,) = folders(tmp_path)
    assert any("broken.png" in warning for warning in json.loads((folder / "run.json").read_text())["warnings"])
