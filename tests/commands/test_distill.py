import json

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.commands.kit.png_settings import PictureSettings
from intaglio.distill.distillation_set import DistillationSet
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import sample

WORDS = ["--steps", "2", "--halving-steps", "2", "--batch", "2", "--student-steps", "2", "--first-steps", "4"]
OWN = ["--own", "3", "--prompt", "dog", "cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert main(["distill", "guided", "--model", str(folder), *WORDS, *OWN, "--runs", str(runs)]) == 0
    (found,) = runs.glob("distill-guided-*")
    return found


def drawing(run, out, *more):
    return ["sample", "--model", str(run / "model"), "--prompt", "dog", "--seed", "3", "--out", str(out), *more]


def test_the_run_keeps_a_model_a_card_and_no_states(folder, run, capsys):
    base, student = load_model(folder), load_model(run / "model")
    assert student.sampling.timesteps == (999, 499)
    card = (run / "README.md").read_text()
    assert base.fingerprint in card
    assert "2 steps of ddim, guidance 1 to 8 as an input" in card
    assert not list((run / "states").glob("*.safetensors"))
    names = sorted(path.relative_to(run / "images").as_posix() for path in (run / "images").rglob("*.png"))
    assert names == ["student/00.png", "student/01.png", "teacher/00.png", "teacher/01.png"]
    drawn = sample(student, ["dog"], [0], steps=2, sampler="ddim", guidance_scale=5.0, batch=1)
    assert ImageSet.load(run / "images" / "student" / "00.png", 16).hashes == drawn.hashes
    summary = json.loads((run / "run.json").read_text())["summary"]
    assert summary["calls"]["backward"] == 2 * (2 + 2)
    assert main(["distill", "guided", "--model", str(folder), *WORDS, *OWN, "--runs", str(run.parent)]) == 0
    shown = capsys.readouterr()
    assert str(run / "model") in shown.out
    assert "calls of the denoiser" not in shown.err, "nothing is planned for a run that is done"


def test_pictures_take_the_steps_of_the_model_and_replay(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(drawing(run, out)) == 0
    assert "2 calls of the denoiser" in capsys.readouterr().err
    settings = PictureSettings.read(out / "dog-3.png")
    assert (settings.steps, settings.sampler, settings.guidance) == (2, "ddim", 5.0)
    known = sample(load_model(run / "model"), ["dog"], [3], steps=2, sampler="ddim", guidance_scale=5.0)
    assert ImageSet.load(out / "dog-3.png", 16).hashes == known.hashes
    assert main(["sample", "--replay", str(out / "dog-3.png"), "--out", str(tmp_path / "again")]) == 0
    assert "all 768 values are the same" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--steps", "4"], "2 steps, not 4; leave --steps out"),
        (["--sampler", "ddpm"], "leave --sampler out"),
        (["--guidance", "9"], "guidance from 1 to 8, not 9"),
        (["--negative", "cat"], "leave --negative out"),
        (["--from-step", "700"], "leave --from-step and --start out"),
    ],
)
def test_flags_that_contradict_it_are_refused_before_any_picture(run, tmp_path, capsys, flags, told):
    assert main(drawing(run, tmp_path / "out", *flags)) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_method_that_combines_predictions_is_refused(run, tmp_path, capsys):
    words = drawing(run, tmp_path / "out", "--negative", "cat")
    assert main([words[0], "perp-neg", *words[1:]]) == 2
    assert "draw with plain" in capsys.readouterr().err


def test_it_learns_from_pictures_with_captions(folder, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    for index, pixels in enumerate(tiny.pixels(2)):
        save_png(pixels, pictures / f"{index}.png")
    words = [
        "distill",
        "guided",
        "--model",
        str(folder),
        *WORDS,
        "--images",
        str(pictures),
        "--runs",
        str(tmp_path / "r"),
    ]
    assert main(words) == 2
    assert "0.png has no caption" in capsys.readouterr().err
    for index in range(2):
        (pictures / f"{index}.txt").write_text(f"dog {index}")
    assert main(words) == 0
    assert "2 pictures" in next((tmp_path / "r").glob("distill-*/README.md")).read_text()


def test_latents_of_pictures_are_the_encoders(folder):
    model = load_model(folder)
    images = ImageSet.from_pixels(tiny.pixels(3), captions=["dog", "cat", "red"])
    found = DistillationSet.of_pictures(model, images)
    assert found.captions == ("dog", "cat", "red")
    assert torch.allclose(found.latents, model.encode(images.pixels), atol=1e-5)
    with pytest.raises(BadInput, match="no pictures"):
        DistillationSet.of_pictures(model, images[:0])


def test_an_updates_captions_follow_its_latents_and_some_are_dropped(folder):
    latents = torch.arange(10.0)[:, None, None, None]
    data = DistillationSet(latents, tuple(str(k) for k in range(10)), "numbers")
    seen = [data.batch(step, 5, dropped=0.3, seed=0, stream="any") for step in range(40)]
    told = [(int(x), caption) for batch in seen for x, caption in zip(batch.latents, batch.captions, strict=True)]
    assert all(caption in ("", str(x)) for x, caption in told)
    assert 0.2 < sum(not caption for _, caption in told) / len(told) < 0.4
    assert sorted(x for x, _ in told[:10]) == list(range(10)), "every latent once an epoch"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--own", "0"], "--own"),
        (["--own-guidance", "-1"], "--own-guidance"),
        (["--prompt", "a", "--images", "x"], "one of"),
    ],
)
def test_wrong_flags_are_refused(flags, told, capsys):
    assert main(["distill", "guided", *flags]) == 2
    assert told in capsys.readouterr().err


def test_another_model_needs_pictures_or_prompts(folder, capsys):
    assert main(["distill", "guided", "--model", str(folder)]) == 2
    assert "give --images" in capsys.readouterr().err
