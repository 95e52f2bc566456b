"""`intaglio audit unlearning` from the command line to a model that draws."""

import json
from pathlib import Path

import pytest

import tiny
from intaglio.audit.unlearning.result import UnlearningRecord
from intaglio.cli import main
from intaglio.images.image_set import save_png
from intaglio.models.diffusion.loading import load_model

WORDS = ["--concept", "dog", "--anchor", "cat", "--keep", "red", "--pictures", "2", "--shown", "1", "--steps", "2"]
WORDS += ["--own", "1", "--own-steps", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


def test_the_run_keeps_a_model_that_samples_its_record_and_pictures(folder, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    for name, pixels in zip("ab", tiny.pixels(2), strict=True):
        save_png(pixels, pictures / f"{name}.png")
    line = ["audit", "unlearning", "salun", "--model", str(folder), *WORDS, "--forget", str(pictures)]
    line += ["--mask-batches", "1", "--batch", "2", "--runs", str(tmp_path / "runs")]
    assert main(line) == 0
    (run,) = (tmp_path / "runs").glob("audit-unlearning-salun-*")
    base, changed, record = load_model(folder), load_model(run / "model"), UnlearningRecord.load(run)
    assert record is not None
    assert (record.fingerprint, record.changed) == (base.fingerprint, changed.fingerprint)
    assert base.fingerprint != changed.fingerprint
    names = sorted(path.relative_to(run / "images").as_posix() for path in (run / "images").rglob("*.png"))
    assert names == ["after/000-00.png", "after/001-00.png", "before/000-00.png", "before/001-00.png"]
    assert not list((run / "states").glob("*.safetensors"))
    assert "the evidence of the concept’s prompts went from" in capsys.readouterr().out
    page = (run / "report.html").read_text()
    assert "Unlearning of a concept" in page
    assert page.count("<img") == 4 + 1  # of the enlarged picture
    assert json.loads((run / "run.json").read_text())["summary"]["weights"] == "model"
    out = tmp_path / "out"
    assert main(["sample", "--model", str(run), "--prompt", "dog", "--steps", "2", "--out", str(out)]) == 0
    assert list(out.glob("*.png"))
    capsys.readouterr()
    assert main(line) == 0
    assert "calls of the denoiser" not in capsys.readouterr().err, "nothing is planned for a run that is done"


def test_what_the_prompts_cannot_be_is_told_and_nothing_is_made(folder, tmp_path, capsys):
    for words, said in {
        "uce": "there is no concept to unlearn",
        "uce --concept dog --anchor dog": "is its own anchor",
        "retain --concept dog": "give --keep prompts of them",
        f"uce --concept dog --forget {folder}": "learns from no pictures of --concept",
    }.items():
        runs = tmp_path / "runs"
        if "--forget" in words:
            picture = tmp_path / "pictures" / "a.png"
            save_png(tiny.pixels(1)[0], picture)
            words = words.replace(str(folder), str(picture.parent))
        assert main(["audit", "unlearning", *words.split(), "--model", str(folder), "--runs", str(runs)]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
        assert not Path(runs).exists()


def test_pictures_are_forgotten_without_a_concept(folder, tmp_path, capsys):
    for part, seed in (("gone", 0), ("rest", 1)):
        for name, pixels in zip("ab", tiny.pixels(2, seed), strict=True):
            save_png(pixels, tmp_path / part / f"{name}.png")
    line = ["audit", "unlearning", "dmm", "--model", str(folder), "--runs", str(tmp_path / "runs")]
    gone, rest = ["--forget", str(tmp_path / "gone")], ["--retain", str(tmp_path / "rest")]
    for words, said in (
        ([*rest, "--keep", "dog"], "give their folder with --forget"),
        ([*gone, "--concept", "dog"], "give their folder with --retain"),
        ([*gone, *rest], "a.png and 1 more have no caption; give --concept"),
    ):
        assert main([*line, *words]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    line += [*gone, *rest]
    line += ["--concept", "dog", "--keep", "dog", "--steps", "2", "--batch", "2", "--timesteps", "1", "--draws", "1"]
    assert main([*line, "--shown", "1"]) == 0
    assert "2 pictures, taken out by dmm; the mean denoising loss of these went from" in capsys.readouterr().out
    (run,) = (tmp_path / "runs").glob("audit-unlearning-dmm-*")
    record = UnlearningRecord.load(run)
    assert record is not None
    assert [row["part"] for row in record.rows] == ["forget"] * 2 + ["retain"] * 2
    assert "Unlearned: " not in (run / "README.md").read_text()
    assert "2 pictures taken out by dmm" in (run / "report.html").read_text()
    assert not list((run / "states").glob("*.safetensors"))
