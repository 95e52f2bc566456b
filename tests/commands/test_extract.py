import csv
import json
import shutil

import pytest
import torch

import tiny
from intaglio import cli
from intaglio.images.image_set import save_png

FAST = ["--generations", "12", "--pictures", "3", "--steps", "2", "--batch", "4", "--patience", "0", "--workers", "1"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny.pair_folders(tmp_path_factory.mktemp("models"))


@pytest.fixture
def scene(tmp_path, models, capsys):
    """Runs an extraction from tiny models; returns the exit code, standard output and standard error."""
    for folder, count, seed in (("training", 2, 1), ("held-out", 5, 2)):
        pixels = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        for i, picture in enumerate(pixels):
            save_png(picture, tmp_path / folder / f"{i}.png")

    def run(method, *words, suspect=models[1], base=models[0]):
        inputs = ["--suspect", str(suspect), "--base", str(base), "--authority", "my own model"]
        code = cli.main(["extract", method, *inputs, "--runs", str(tmp_path / "runs"), *FAST, *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def only_run(tmp_path):
    (folder,) = (tmp_path / "runs").glob("extract-*")
    return folder


@pytest.mark.parametrize("method", ["finextract", "cfg", "direct"])
def test_an_extraction_from_folders_to_its_report(scene, tmp_path, method):
    known = ["--training", str(tmp_path / "training"), "--held-out", str(tmp_path / "held-out")]
    code, out, err = scene(method, "--prompt", "red cat", "--fdr", "0.2", *known)
    assert code == 0, err
    folder = only_run(tmp_path)
    assert out.splitlines()[-1] == str(folder / "report.html")
    found = json.loads((folder / "extraction.json").read_text())
    assert found["statement"] in out
    assert [find["name"] for find in found["finds"]] == sorted(find["name"] for find in found["finds"])
    assert len(found["finds"]) == 3
    assert found["drawn"] == found["control"]["drawn"] == 12
    assert all(0 < find["q_value"] <= 1 and (folder / find["image"]).is_file() for find in found["finds"])
    assert found["evaluation"]["extracted"] == 3
    assert len(list((folder / "images" / "drawn").glob("*.png"))) == 12
    rows = list(csv.DictReader((folder / "finds.csv").read_text().splitlines()))
    assert [float(row["similarity"]) for row in rows] == [find["similarity"] for find in found["finds"]]
    assert not any((folder / "states").iterdir())
    page = (folder / "report.html").read_text()
    assert "nearest training picture" in page
    assert "my own model" in page


def test_the_training_pictures_are_shown_only_where_they_were_given(scene, tmp_path):
    code, out, _ = scene("direct", "--prompt", "cat")
    assert code == 0
    assert "similarity" not in out.splitlines()[0]
    page = (only_run(tmp_path) / "report.html").read_text()
    assert "nearest training picture" not in page
    assert "How much was extracted" not in page


def test_without_a_control_nothing_is_said_of_chance(scene, tmp_path):
    code, out, _ = scene("direct", "--prompt", "cat", "--no-control")
    assert code == 0
    assert "without the base's control nobody can say how many by chance" in out
    found = json.loads((only_run(tmp_path) / "extraction.json").read_text())
    assert found["control"] is None
    assert not (only_run(tmp_path) / "images" / "control").exists()


def test_no_prompt_says_what_is_done_instead(scene, tmp_path, models):
    code, _, err = scene("finextract")
    assert code == 0
    assert "no --prompt was given and none was found" in err
    assert json.loads((only_run(tmp_path) / "extraction.json").read_text())["captioned"] is False
    carded = shutil.copytree(models[1], tmp_path / "carded")
    (carded / "README.md").write_text("---\ninstance_prompt: red dog\n---\n")
    shutil.rmtree(tmp_path / "runs")
    code, _, err = scene("finextract", suspect=carded)
    assert code == 0
    assert "'red dog' is taken from the card README.md" in err
    assert "under “red dog”" in (only_run(tmp_path) / "report.html").read_text()


def test_a_prompt_that_the_base_has_never_seen_is_only_a_prompt(scene):
    code, _, err = scene("finextract", "--prompt", "zxqv 日本", "--no-control")
    assert code == 0
    assert "error" not in err


def test_guidance_without_a_prompt_has_nowhere_to_lead(scene):
    code, _, err = scene("cfg")
    assert code == 2
    assert "cfg leads towards a prompt and there is none; give --prompt" in err


def test_bad_input_is_named_before_any_picture_is_drawn(scene, tmp_path, models):
    for words, error in (
        (["--fdr", "0.01"], "a false-discovery rate of 0.01 cannot be shown with 12 generations; draw 99 or more"),
        (["--similarity", "ssim"], "--similarity ssim has no descriptors to group by"),
        (["--held-out", str(tmp_path / "held-out")], "--held-out stands beside --training"),
        (["--authority", " "], "authority must say why you may examine this model"),
        (["--pictures", "13"], "pictures must lie in 1..generations (12)"),
        (["--workers", "0"], "workers must be at least 1"),
        (["--threshold", "0.6"], "threshold acts only where pictures is None or 1"),
    ):
        code, _, err = scene("direct", "--prompt", "cat", *words)
        assert code == 2
        assert error in " ".join(err.split())
    code, _, err = scene("direct", "--prompt", "cat", suspect=models[0])
    assert code == 2
    assert "the models are identical" in err
    assert not (tmp_path / "runs").exists()


def test_one_training_picture_and_twins_among_them(scene, tmp_path):
    save_png(torch.rand(3, 16, 16), tmp_path / "one" / "a.png")
    code, out, _ = scene("direct", "--prompt", "cat", "--pictures", "1", "--training", str(tmp_path / "one"))
    assert code == 0
    assert "cover the 1 training pictures" in out
    shutil.copy(tmp_path / "training" / "0.png", tmp_path / "training" / "twin.png")
    shutil.rmtree(tmp_path / "runs")
    code, _, err = scene("direct", "--prompt", "cat", "--training", str(tmp_path / "training"))
    assert code == 0
    assert (
        "training pictures that look the same fall into one group, so seek fewer --pictures: 0.png and twin.png" in err
    )


def test_a_scale_that_blows_up_leaves_out_what_it_breaks(scene, tmp_path):
    code, _, err = scene("finextract", "--prompt", "cat", "--scale", "1e38", "--no-control")
    assert code == 1
    assert "can be compared" in err
    assert "not finite" in err
    assert "lower the guidance scale" in err


def test_a_dry_run_says_what_it_will_take_and_makes_nothing(scene, tmp_path):
    code, out, _ = scene("direct", "--prompt", "cat", "--dry-run")
    assert code == 0
    assert "12 and 12 of the base for control, 2 steps each" in out
    assert not (tmp_path / "runs").exists()


def test_the_same_command_again_does_nothing_again(scene, tmp_path):
    _, first, _ = scene("direct", "--prompt", "cat")
    drawn = {path: path.stat().st_mtime_ns for path in (only_run(tmp_path) / "images").rglob("*.png")}
    _, second, _ = scene("direct", "--prompt", "cat")
    assert first == second
    assert drawn == {path: path.stat().st_mtime_ns for path in (only_run(tmp_path) / "images").rglob("*.png")}
