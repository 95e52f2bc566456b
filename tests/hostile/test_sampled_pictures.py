"""`sample` and `flow sample` after a kill, and pictures of strangers given to `--replay`."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.commands.kit.png_settings import CHUNK, PictureSettings, place
from intaglio.commands.sample import Sample
from intaglio.errors import BadInput, IntaglioError
from intaglio.files import TEMPORARY
from intaglio.images.image_set import ImageSet, read_png_text, save_png
from intaglio.runs.picture_series import PictureSeries
from intaglio.sampling.methods.plain import Plain


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


def command(folder: Path, out: Path, **changes) -> Sample:
    return replace(
        Sample(method=Plain(), model=folder, prompt=("cat", "dog"), count=3, steps=2, batch=2, out=out), **changes
    )


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


class Killed(BaseException):
    """In place of a signal: nothing after it runs but what the interpreter itself does."""


POINTS = [
    "before the name",
    "before the picture",
    "half a picture",
    "before the rename",
    "after the picture",
    "at the end",
]


def die_at(monkeypatch, point: str, count: int) -> None:
    """Ends the command when it comes to this point the `count`-th time."""
    seen = iter(range(1, 10**6))

    def fatal(owner, name, when):
        original = getattr(owner, name)

        def stand_in(self, *args):
            if when(self, *args) and next(seen) == count:
                raise Killed
            return original(self, *args)

        monkeypatch.setattr(owner, name, stand_in)

    match point:
        case "before the name":
            fatal(PictureSeries, "_note", lambda self, row: "name" in row)
        case "before the picture":
            fatal(PictureSeries, "save", lambda *_: True)
        case "half a picture":
            monkeypatch.setattr(PictureSeries, "_place", _half(count))
        case "before the rename":
            fatal(Path, "replace", lambda self, _: self.name.startswith(TEMPORARY))
        case "after the picture":
            fatal(PictureSeries, "_note", lambda self, row: "saved" in row)
        case "at the end":
            monkeypatch.setattr("shutil.rmtree", lambda *_, **__: (_ for _ in ()).throw(Killed))


def _half(count: int):
    original, seen = PictureSeries._place, iter(range(1, 10**6))

    def stand_in(self, index, png):
        path = original(self, index, png)
        if next(seen) == count:
            (self._work / f"{TEMPORARY}0123").write_bytes(png[:50])
            raise Killed
        return path

    return stand_in


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """The files of a command that nothing stopped, with the settings in the pictures and without."""
    found = {}
    for metadata in (True, False):
        out = tmp_path_factory.mktemp("whole") / "out"
        command(folder, out, metadata=metadata)()
        found[metadata] = contents(out)
    return found


@pytest.mark.parametrize(("point", "metadata"), [(point, k % 2 == 0) for k, point in enumerate(POINTS)])
def test_killed_it_goes_on_and_ends_with_the_same_pictures(folder, whole, tmp_path, monkeypatch, point, metadata):
    killed = command(folder, tmp_path / "killed", metadata=metadata)
    for count in (1, 4, 2):
        with monkeypatch.context() as patch:
            die_at(patch, point, count)
            try:
                killed()
            except Killed:
                continue
    assert killed() == 0
    assert contents(tmp_path / "killed") == whole[metadata]


def test_what_is_there_is_not_drawn_again(folder, tmp_path, monkeypatch, capsys):
    work = command(folder, tmp_path / "out")
    with monkeypatch.context() as patch:
        die_at(patch, "before the name", 4)
        with pytest.raises(Killed):
            work()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    assert len(kept) == 3
    assert work() == 0
    assert "3 of 6 pictures were drawn before" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_picture_that_was_taken_away_meanwhile_is_drawn_again(folder, tmp_path, monkeypatch):
    work = command(folder, tmp_path / "out")
    with monkeypatch.context() as patch:
        die_at(patch, "before the name", 4)
        with pytest.raises(Killed):
            work()
    (tmp_path / "out" / "cat-1.png").unlink()
    work()
    command(folder, tmp_path / "whole")()
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_name_that_another_command_took_meanwhile_is_left_to_it(folder, tmp_path, monkeypatch):
    work = command(folder, tmp_path / "out")
    with monkeypatch.context() as patch:
        die_at(patch, "before the rename", 2)
        with pytest.raises(Killed):
            work()
    (tmp_path / "out" / "cat-1.png").write_bytes(b"another's")
    work()
    found = contents(tmp_path / "out")
    assert found["cat-1.png"] == b"another's"
    assert "cat-1-2.png" in found


def test_a_finished_command_draws_again_and_another_is_not_mistaken_for_it(folder, tmp_path, monkeypatch):
    work = command(folder, tmp_path / "out", count=1)
    work()
    work()
    assert sorted(contents(tmp_path / "out")) == ["cat-0-2.png", "cat-0.png", "dog-1-2.png", "dog-1.png"]
    with monkeypatch.context() as patch:
        die_at(patch, "before the name", 2)
        with pytest.raises(Killed):
            replace(work, steps=3)()
    replace(work, steps=4)()
    assert len(list((tmp_path / "out").glob("*.png"))) == 4 + 1 + 2


def test_two_equal_commands_at_once_are_one_too_many(folder, tmp_path):
    work = command(folder, tmp_path / "out")
    tools = work.tools(["cat", "dog"])
    key = work.series_key(["cat"] * 3 + ["dog"] * 3, tools)
    with PictureSeries(tmp_path / "out", key, ["x"]), pytest.raises(IntaglioError, match="another process is drawing"):
        work()
    assert tools.model.name == "base"


def test_a_journal_of_a_stranger_leads_nowhere(tmp_path):
    hidden = tmp_path / f".unfinished-{'0' * 16}"
    hidden.mkdir()
    (tmp_path / "kept.png").write_bytes(b"kept")
    rows = [{"index": 0, "name": "../x.png"}, {"index": 1, "saved": "/etc/passwd"}, {"index": 9, "saved": "kept.png"}]
    (hidden / "pictures.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "[" * 10**5 + "\n")
    with PictureSeries(tmp_path, "0" * 64, ["a.png", "b.png"]) as series:
        assert [index in series for index in range(2)] == [False, False]
        assert series.save(0, b"a") == tmp_path / "a.png"
        series.save(1, b"b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "kept.png"]


@pytest.mark.parametrize("words", [["--count", "1000000000000"], ["--count", "600000", "--prompt", "a", "b"]])
def test_more_pictures_than_a_machine_holds_are_refused(capsys, words):
    code = main(["sample", *(["--prompt", "x"] if "--prompt" not in words else []), *words])
    assert (code, "are the most of one command" in capsys.readouterr().err) == (2, True)


def test_a_prompt_of_megabytes_is_refused(folder, tmp_path):
    (tmp_path / "p.txt").write_text("dog\n" + "cat " * 3_000_000)
    with pytest.raises(BadInput, match=r"p.txt has 11,999,999 letters in line 2; shorten it|12,000,000"):
        Sample(method=Plain(), model=folder, prompts=tmp_path / "p.txt")()


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_prompts_from_a_pipe_are_refused_unread(tmp_path, capsys, kind):
    path = tmp_path / "p.txt"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    assert main(["sample", "--prompts", str(path)]) == 2
    assert f"is a {kind}" in capsys.readouterr().err


# Places


def test_no_absolute_path_is_in_a_picture(folder, tmp_path):
    out = tmp_path / "out"
    Sample(method=Plain(), model=folder, like=folder, prompt=("cat",), steps=1, out=out)()
    text = "".join(read_png_text(out / "cat-0.png").values())
    assert str(tmp_path) not in text
    assert str(folder.parent) not in text
    assert Sample(method=Plain(), replay=out / "cat-0.png", out=tmp_path)() == 0


def test_the_place_of_a_model_far_away_is_its_name(tmp_path):
    assert place(tmp_path / "models/base", tmp_path / "pictures") == "../models/base"
    assert place(tmp_path / "base", tmp_path / "a/b/c") == "../../../base"
    assert place(tmp_path / "base", tmp_path / "a/b/c/d") == "base"
    assert place(None, tmp_path) is None


def test_a_picture_of_before_with_an_absolute_path_is_replayed(folder, tmp_path):
    Sample(method=Plain(), model=folder, prompt=("cat",), steps=1, out=tmp_path)()
    spoil(tmp_path / "cat-0.png", lambda known: known["model"].update(path=str(folder)))
    assert Sample(method=Plain(), replay=tmp_path / "cat-0.png", out=tmp_path)() == 0


# Replay


@pytest.fixture(scope="module")
def drawn(folder, tmp_path_factory):
    """A picture of one step and its folder, which copies of it lie in too: the model's place is told from there."""
    out = tmp_path_factory.mktemp("drawn")
    Sample(method=Plain(), model=folder, prompt=("cat",), steps=1, out=out)()
    return out / "cat-0.png"


@pytest.fixture
def picture(drawn, tmp_path):
    """A copy of that picture, to be spoilt."""
    return Path(shutil.copy(drawn, drawn.with_name(f"{tmp_path.name}.png")))


def spoil(path: Path, change) -> Path:
    text = read_png_text(path)
    known = json.loads(text[CHUNK])
    change(known)
    save_png(ImageSet.load(path, 16).pixels[0], path, {**text, CHUNK: json.dumps(known)})
    return path


BEYOND = [
    ("steps", -5),
    ("steps", 0),
    ("steps", 1001),
    ("steps", 10**9),
    ("steps", True),
    ("steps", 2.5),
    ("guidance", float("nan")),
    ("guidance", float("inf")),
    ("guidance", -1),
    ("guidance", "5"),
    ("seed", 10**30),
    ("seed", -1),
    ("seed", 2**63),
    ("rows", 10**9),
    ("rows", 0),
    ("rows", 5000),
    ("size", [10**12, 16]),
    ("size", [16]),
    ("size", "x"),
    ("size", [0, 16]),
    ("prompt", ["x"]),
    ("prompt", "x" * 10**5),
    ("negative", "x" * 10**5),
    ("sampler", "none"),
    ("sampler", []),
    ("dtype", "float8"),
    ("model", None),
    ("model", "x"),
    ("prompt", "\ud800"),
    ("lora", 5),
    ("versions", []),
    ("format", 99),
    ("base", {"name": 5}),
    ("base", "x"),
]


@pytest.mark.parametrize(("name", "value"), BEYOND, ids=[f"{name}={str(value)[:12]}" for name, value in BEYOND])
def test_settings_out_of_range_are_bad_input(picture, capsys, name, value):
    path = spoil(picture, lambda known: known.update({name: value}))
    assert main(["sample", "--replay", str(path)]) == 2
    assert "are damaged or of another version" in capsys.readouterr().err


def test_settings_that_do_not_go_together_are_bad_input(folder, tmp_path, capsys):
    Sample(method=Plain(), model=folder, prompt=("cat",), steps=1, out=tmp_path, negative="dog")()
    capsys.readouterr()

    def change(known):
        known.update(base=known["model"], correction=0.0, reference="empty")

    assert main(["sample", "--replay", str(spoil(tmp_path / "cat-0.png", change))]) == 2
    assert "do not go together" in capsys.readouterr().err


@pytest.mark.parametrize("chunk", ["[" * 100_000, "{", "[]", "5", "null", '{"format": NaN}'])
def test_a_chunk_that_is_no_table_is_bad_input(tmp_path, chunk):
    save_png(torch.zeros(3, 16, 16), tmp_path / "a.png", {CHUNK: chunk})
    with pytest.raises(BadInput, match="damaged or of another version"):
        PictureSettings.read(tmp_path / "a.png")


def test_names_in_a_replayed_picture_do_not_steer_the_terminal(picture, capsys):
    evil = "\x1b]0;owned\a\u202e"
    path = spoil(picture, lambda known: known["model"].update(name=evil, fingerprint="0" * 64))
    assert main(["sample", "--replay", str(path)]) == 2
    err = capsys.readouterr().err
    assert not set("\x1b\a\u202e") & set(err)
    assert r"drawn by \x1b]0;owned\x07\u202e" in err


@pytest.mark.parametrize("flags", [{"steps": 9}, {"count": 2}, {"seed": 1}, {"guidance": 2.0}, {"sampler": "heun"}])
def test_flags_that_a_replay_takes_from_the_picture_are_refused(drawn, tmp_path, flags):
    with pytest.raises(BadInput, match=rf"--{next(iter(flags))} would have no effect; leave it out"):
        Sample(method=Plain(), replay=drawn, out=tmp_path, **flags)()
