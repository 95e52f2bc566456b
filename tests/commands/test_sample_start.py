import json

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.commands.kit.png_settings import CHUNK, PictureSettings, StartRecord
from intaglio.images.image_set import ImageSet, read_png_text, save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import sample
from intaglio.sampling.start import UnitNoise
from intaglio.sampling.starts.analytic import AnalyticStart, LatentMoments


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of six pictures."""
    found = tmp_path_factory.mktemp("pictures")
    for k, picture in enumerate(torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))):
        save_png(picture, found / f"{k}.png", {})
    return found


def words(folder, out, *more):
    given = ["sample", "--model", str(folder), "--prompt", "dog", "cat", "--seed", "3", "--steps", "2"]
    return [*given, "--out", str(out), *more]


def analytic(folder, pictures, out, *more):
    return words(folder, out, "--start", "analytic", "--start-pictures", str(pictures), "--from-step", "700", *more)


def test_pictures_are_those_of_the_library_and_replay_from_the_fit_beside_them(folder, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(analytic(folder, pictures, out)) == 0
    assert "of 6 pictures is rough; give 256 or more" in capsys.readouterr().err
    model = load_model(folder)
    moments = LatentMoments.fit(model, ImageSet.load(pictures, 16))
    known = sample(model, ["dog", "cat"], [3, 4], steps=2, start=AnalyticStart(moments, 700))
    assert [ImageSet.load(out / f"{name}.png", 16).hashes[0] for name in ("dog-3", "cat-4")] == list(known.hashes)
    recorded = PictureSettings.read(out / "dog-3.png").start
    assert recorded == StartRecord(name="analytic", first=700, hash=moments.hash)
    assert (out / f"start-{moments.hash[:16]}.safetensors").is_file()
    assert main(["sample", "--replay", str(out / "dog-3.png"), "--out", str(tmp_path / "again")]) == 0
    assert "all 768 values are the same" in capsys.readouterr().out
    assert PictureSettings.read(tmp_path / "again" / "dog-3-replay.png").start == recorded
    again = str(tmp_path / "again" / "dog-3-replay.png")
    assert main(["sample", "--replay", again, "--out", str(tmp_path / "again")]) == 0


def test_a_fit_that_is_there_is_not_made_again(folder, pictures, tmp_path, monkeypatch, capsys):
    assert main(analytic(folder, pictures, tmp_path)) == 0
    monkeypatch.setattr(LatentMoments, "fit", None)
    assert main(analytic(folder, pictures, tmp_path, "--count", "2")) == 0
    (file,) = tmp_path.glob("start-*.safetensors")
    assert main(analytic(folder, file, tmp_path / "from-file")) == 0
    hashes = [ImageSet.load(place / "dog-3.png", 16).hashes[0] for place in (tmp_path, tmp_path / "from-file")]
    assert hashes[0] == hashes[1]


def test_a_search_begins_there_too_and_replays(folder, pictures, tmp_path, capsys):
    more = ("--search", "random", "--budget", "12", "--search-verifier", "ink")
    assert main(analytic(folder, pictures, tmp_path, *more)) == 0
    assert "pictures   2: 24 calls of the denoiser" in capsys.readouterr().err
    assert main(["sample", "--replay", str(tmp_path / "dog-3.png"), "--out", str(tmp_path / "again")]) == 0


def test_unit_noise_at_an_earlier_timestep(folder, tmp_path):
    assert main(words(folder, tmp_path, "--from-step", "500")) == 0
    known = sample(load_model(folder), ["dog", "cat"], [3, 4], steps=2, start=UnitNoise(500))
    assert ImageSet.load(tmp_path / "dog-3.png", 16).hashes[0] == known.hashes[0]
    assert main(["sample", "--replay", str(tmp_path / "dog-3.png"), "--out", str(tmp_path / "again")]) == 0


def test_a_start_without_its_file_or_with_another_is_refused_by_name(folder, pictures, tmp_path, capsys):
    assert main(analytic(folder, pictures, tmp_path / "out")) == 0
    (file,) = (tmp_path / "out").glob("start-*.safetensors")
    away = file.rename(tmp_path / "away.safetensors")
    replay = ["sample", "--replay", str(tmp_path / "out" / "dog-3.png"), "--out", str(tmp_path / "again")]
    other = tmp_path / "other"
    other.mkdir()
    for name in ("0.png", "1.png"):
        (other / name).write_bytes((pictures / name).read_bytes())
    for more, code, said in (
        ([], 2, "there is no fitted start"),
        (["--start-pictures", str(away)], 0, ""),
        (["--start-pictures", str(pictures)], 0, ""),
        (["--start-pictures", str(other)], 2, "a start by analytic of other data; give its file"),
        (["--start", "analytic"], 2, "would have no effect"),
    ):
        assert main([*replay, *more]) == code
        assert said in " ".join(capsys.readouterr().err.split())


def test_a_start_of_another_model_is_refused(folder, pictures, tmp_path, capsys):
    assert main(analytic(folder, pictures, tmp_path)) == 0
    (file,) = tmp_path.glob("start-*.safetensors")
    another = tiny.sd_folder(tmp_path / "another", seed=1)
    assert main(analytic(another, file, tmp_path / "out")) == 2
    assert "was fitted to another model" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--start", "analytic"), "needs pictures such as the model draws"),
        (("--start-pictures", "x"), "--start unit has no use for --start-pictures"),
        (("--from-step", "-1"), "--from-step must be 0 or more"),
        (("--from-step", "1000"), "cannot start at timestep 1000; use 0 to 999"),
        (("--from-step", "0"), "2 steps cannot be taken; use 1 to 1"),
        (("--start", "analytic", "--start-pictures", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_begin_is_refused_in_a_sentence(folder, tmp_path, capsys, more, said):
    assert main(words(folder, tmp_path / "out", *more)) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("change", [{"name": "magic"}, {"first": -1}, {"first": 2.5}, {"hash": 3}, {"first": 2**40}])
def test_a_damaged_start_is_refused(folder, tmp_path, capsys, change):
    assert main(words(folder, tmp_path, "--from-step", "500")) == 0
    text = read_png_text(tmp_path / "dog-3.png")
    stored = json.loads(text[CHUNK])
    stored["start"] |= change
    save_png(torch.zeros(3, 16, 16), tmp_path / "bad.png", {**text, CHUNK: json.dumps(stored)})
    assert main(["sample", "--replay", str(tmp_path / "bad.png"), "--out", str(tmp_path)]) == 2
    assert "damaged or of another version" in " ".join(capsys.readouterr().err.split())


def test_particles_begin_there_and_their_plan_knows_it(folder, pictures, tmp_path, capsys):
    more = ("--particles", "2", "--verifier", "ink", "--steps", "3", "--choose-below", "1")
    line = analytic(folder, pictures, tmp_path, *more)
    assert main([line[0], "svdd", *line[1:]]) == 0
    assert main(["sample", "--replay", str(tmp_path / "dog-3.png"), "--out", str(tmp_path / "again")]) == 0
