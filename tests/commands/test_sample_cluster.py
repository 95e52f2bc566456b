"""`intaglio sample --cluster`: the pictures, and what is said of them, are those of one machine; also after a kill."""

import pytest

import tiny
from intaglio.cli import main
from intaglio.images.image_set import save_png
from intaglio.runs.picture_series import PictureSeries
from loopback_cluster import in_place_of_ray

WAYS = {
    "batches": (3, ["plain", "--count", "5", "--batch", "2"]),
    "what a method says": (2, ["svdd", "--verifier", "ink", "--particles", "2", "--count", "3", "--batch", "2"]),
    "searches": (2, ["plain", "--count", "2", "--search", "random", "--budget", "12", "--search-verifier", "ink"]),
}
"""Pieces, and the words of a command."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


def drawn(folder, out, words, capsys):
    """The files by name, and the last line of what was said of them."""
    code = main(["sample", *words, "--model", str(folder), "--prompt", "dog", "--steps", "2", "--out", str(out)])
    assert code == 0
    said = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith(("{", "pictures ", "sampling "))
    ]
    return {path.name: path.read_bytes() for path in out.iterdir()}, said[-1].removesuffix(" on this machine alone")


@pytest.mark.parametrize("way", WAYS)
def test_the_same_files_and_words_come_from_a_cluster(folder, tmp_path, monkeypatch, capsys, way):
    cluster, (pieces, words) = in_place_of_ray(monkeypatch), WAYS[way]
    here, told = drawn(folder, tmp_path / "here", words, capsys)
    assert cluster.pieces == 0
    there, told_there = drawn(folder, tmp_path / "there", [*words, "--cluster", "ray"], capsys)
    assert there == here
    assert cluster.pieces == pieces
    assert told_there.split("time ")[0] == told.split("time ")[0]


def test_a_killed_one_goes_on_here_with_what_is_missing(folder, tmp_path, monkeypatch, capsys):
    _, words = WAYS["batches"]
    whole, _ = drawn(folder, tmp_path / "whole", words, capsys)
    cluster, save = in_place_of_ray(monkeypatch), PictureSeries.save

    def fatal(self, index, png):
        if len(self) == 3:
            raise KeyboardInterrupt
        return save(self, index, png)

    out = tmp_path / "killed"
    monkeypatch.setattr(PictureSeries, "save", fatal)
    given = [*words, "--model", str(folder), "--prompt", "dog", "--steps", "2", "--out", str(out)]
    assert main(["sample", *given, "--cluster", "ray"]) == 130
    assert sorted(path.name for path in out.glob("*.png")) == ["dog-2.png", "dog-3.png", "dog-4.png"]
    monkeypatch.setattr(PictureSeries, "save", save)
    assert drawn(folder, out, words, capsys)[0] == whole
    assert cluster.pieces == 3


def test_a_replay_has_no_use_for_a_cluster(tmp_path, capsys):
    save_png(tiny.pixels(1)[0], tmp_path / "a.png")
    assert main(["sample", "--replay", str(tmp_path / "a.png"), "--cluster", "ray"]) == 2
    assert "so --cluster would have no effect; leave it out" in capsys.readouterr().err
