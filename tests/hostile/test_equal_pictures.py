"""Pictures of an audit that are equal to each other: one control that was copied is one control."""

import json
from pathlib import Path

import pytest

import tiny
from intaglio import cli
from intaglio.audit.membership.pictures import AuditPictures, distinct, likenesses
from intaglio.images.image_set import ImageSet, save_png


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Two models, a questioned picture, and 20 copies of one control."""
    root = tmp_path_factory.mktemp("scene")
    tiny.sd_folder(root / "base", seed=0)
    tiny.sd_folder(root / "suspect", seed=1)
    questioned, control = tiny.some_pictures(0, 1), tiny.some_pictures(5, 1)
    save_png(questioned.pixels[0], root / "questioned" / "q.png")
    for k in range(20):
        save_png(control.pixels[0], root / "controls" / f"{k}.png")
    return root


def test_copies_of_one_control_support_no_rate(scene, tmp_path, capsys):
    words = ["authenticate", "loss-gap", "--suspect", scene / "suspect", "--base", scene / "base", "--levels", "1"]
    words += ["--images", scene / "questioned", "--controls", scene / "controls", "--runs", tmp_path]
    assert cli.main([str(word) for word in words]) == 2
    said = capsys.readouterr().err
    assert "1 different control cannot show a false-positive rate of 0.05, for which 19 are needed" in said
    assert "or ask for --fpr 0.5" in said
    assert not list(tmp_path.glob("*/run.json"))
    assert cli.main([str(word) for word in (*words, "--fpr", "0.5")]) == 0
    (run,) = tmp_path.glob("*/run.json")
    warnings = json.loads(Path(run).read_text())["warnings"]
    assert "20 controls, of which 1 is different: equal pictures count once" in warnings


def test_different_controls_are_all_kept_in_their_order():
    questioned, controls = tiny.some_pictures(0, 2), tiny.some_pictures(5, 4)
    assert distinct(controls) is controls
    copies = ImageSet.from_pixels(controls.pixels[[2, 0, 2, 1, 0]], list("abcde"))
    assert distinct(copies).names == ("a", "b", "d")
    assert len(AuditPictures.of(questioned, controls).of_role("controls")) == 4
    assert not any("are different" in line for line in likenesses(questioned, controls))
