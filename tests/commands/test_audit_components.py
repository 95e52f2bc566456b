"""`intaglio audit components` on a fine-tune's weights, a LoRA and words, and what it refuses."""

import csv
import json
import shlex

import pytest

import tiny
from intaglio.cli import main
from intaglio.images.image_set import save_png

LINE = "audit components copyscope --model {base} --images {target} --prompt cat dog --steps 2 --pictures 8 --quiet"
THREE = '--component tuned=model:{suspect} guide=guidance:2 "style=words:, red"'


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("components")
    base, suspect = tiny.pair_folders(root)
    for k, pixels in enumerate(tiny.pixels(3)):
        save_png(pixels, root / "target" / f"{k}.png")
    return {"root": root, "base": base, "suspect": suspect, "target": root / "target"}


def run(places, words):
    return main(shlex.split(f"{LINE} --runs {{root}}/runs {words}".format(**places)))


def test_shares_are_told_stored_and_shown(places, capsys):
    assert run(places, THREE) == 0
    said = capsys.readouterr().out
    folder = next((places["root"] / "runs").iterdir())
    stored = json.loads((folder / "components.json").read_text())
    assert [one["name"] for one in stored["components"]] == ["tuned", "guide", "style"]
    assert len(stored["values"]) == 8
    assert sorted(map(int, stored["pictures"])) == [0, 1, 2, 4, 7]
    rows = list(csv.DictReader((folder / "components.csv").read_text().splitlines()))
    assert {row["component"] for row in rows} == {"tuned", "guide", "style"}
    assert all(name in said for name in ("component", "tuned", "guide", "style"))
    page = (folder / "report.html").read_text()
    assert "3 components and a likeness" in page
    assert len(list((folder / "images").glob("*.png"))) == 5 * 4
    assert not list(folder.glob("states/*"))
    assert run(places, THREE) == 0, "a finished run is told again"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--component a=words:x", "among 2 to 16 components, not 1"),
        ("--component a=words:x b=tone:y", "KIND one of lora, model, words, guidance, not 'b=tone:y'"),
        ("--component a=words:x a=words:y", "two components are called a"),
        ("--component a=guidance:1 b=words:y", "a guidance scale above 1, not '1'"),
        ("--component a=guidance:2 b=guidance:3", "a and b are both a guidance, and a drawing has one"),
        ("--component a=guidance:2 b=words:y --guidance 3", "guidance is a component"),
        ("--component a=lora:nowhere.safetensors b=words:y", "nowhere.safetensors does not exist"),
        ("--component a=words:x b=words:y --similarity ssim", "compared by descriptors, which ssim has not"),
        ("--component a=model:{base} b=words:y", "identical"),
    ],
)
def test_what_cannot_be_shared_is_told_in_a_sentence(places, words, told, capsys):
    assert run(places, words) == 2
    assert told in capsys.readouterr().err
