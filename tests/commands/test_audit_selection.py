"""`intaglio audit selection` from the command line to its report, and what it refuses."""

import json

import pytest

import tiny
from audit_scenes import pictures
from intaglio.audit.selection.result import Selection
from intaglio.cli import main
from intaglio.errors import BadInput
from intaglio.images.image_set import save_png


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pool")
    tiny.sd_folder(root / "base")
    for k, pixels in enumerate(pictures(4).pixels):
        save_png(pixels, root / "pool" / f"<b>{k}.png")
        (root / "pool" / f"<b>{k}.txt").write_text(f"{'red' if k % 2 else 'big'} cat")
    for k, pixels in enumerate((*pictures(1, seed=5).pixels, pictures(4).pixels[2])):
        save_png(pixels, root / "target" / f"{k}.png")
    return root


def line(root, tmp_path, *further):
    words = ["audit", "selection", "tarot", "--model", str(root / "base"), "--candidates", str(root / "pool")]
    words += ["--target", str(root / "target"), "--timesteps", "2", "--width", "64", "--runs", str(tmp_path)]
    return [*words, "--prompt", "a dog", *further]


def test_the_chosen_pictures_lie_ready_to_train_on(folders, tmp_path):
    words = line(folders, tmp_path, "--size", "2", "--quiet")
    assert main(words) == 0
    (folder,) = tmp_path.glob("audit-selection-tarot-*")
    found = Selection.load(folder)
    assert found.places[0] == 2  # the target itself
    copies = sorted((folder / "images" / "chosen").glob("*.png"))
    assert len(copies) == len(found.places) == 2
    assert copies[-1].with_suffix(".txt").read_text().strip() in ("big cat", "red cat")
    page = (folder / "report.html").read_text()
    assert "candidates that are targets themselves: &lt;b&gt;2.png" in page
    assert "<b>2.png" not in page
    assert page.count("<img class") == 2
    assert not list((folder / "states").rglob("*.safetensors"))
    record = json.loads((folder / "run.json").read_text())
    assert record["summary"]["chosen"] == 2


def test_a_pool_that_is_too_small_is_told_before_any_work(folders, tmp_path, capsys):
    assert main(line(folders, tmp_path, "--size", "4")) == 2
    assert "4 chosen of 4 candidates is no choice; give a smaller --size" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_stored_choice_of_a_candidate_that_is_not_there_is_refused(folders, tmp_path):
    main(line(folders, tmp_path, "--size", "1", "--quiet"))
    (folder,) = tmp_path.glob("audit-selection-tarot-*")
    stored = json.loads((folder / "selection.json").read_text())
    stored["chosen"] = [[9, 1.0]]
    (folder / "selection.json").write_text(json.dumps(stored))
    with pytest.raises(BadInput, match="has a value of another kind"):
        Selection.load(folder)
