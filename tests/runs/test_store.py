"""The list of runs, read from their folders."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from intaglio.errors import BadInput
from intaglio.runs.run import Run
from intaglio.runs.store import find_run, list_runs, remove_old_index


def make(root, seed, method="lora", finish=True):
    run = Run.open(root, "finetune", method, {}, {}, seed=seed, device="cpu", command=[], progress="none")
    with run:
        if finish:
            run.finish({"seed": seed})
    return run.name


def dated(root, name, started):
    path = root / name / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": started}))


def test_newest_first(tmp_path):
    names = [make(tmp_path, seed) for seed in range(3)]
    for name, day in zip(names, ("02", "03", "01"), strict=True):
        dated(tmp_path, name, f"2026-01-{day}T00:00:00+00:00")
    assert [run.name for run in list_runs(tmp_path)] == [names[1], names[0], names[2]]
    assert {run.status for run in list_runs(tmp_path)} == {"done"}
    assert list_runs(tmp_path)[0].header["summary"] == {"seed": 1}
    assert list_runs(tmp_path)[0].folder == tmp_path / names[1]


def test_nothing_there(tmp_path):
    assert list_runs(tmp_path) == []
    assert list_runs(tmp_path / "none") == []
    assert list(tmp_path.iterdir()) == []


def test_the_list_follows_the_folders(tmp_path):
    one, two = make(tmp_path, 1, finish=False), make(tmp_path, 2)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "run.json").write_text("not json")
    assert {run.name: run.status for run in list_runs(tmp_path)} == {one: "unfinished", two: "done"}
    make(tmp_path, 1)
    shutil.rmtree(tmp_path / two)
    assert {run.name: run.status for run in list_runs(tmp_path)} == {one: "done"}
    three = make(tmp_path, 3)
    assert {run.name for run in list_runs(tmp_path)} == {one, three}


def test_an_index_of_earlier_versions_is_neither_read_nor_touched_until_it_is_removed(tmp_path):
    names = {make(tmp_path, 1), make(tmp_path, 2)}
    for ending in ("", "-wal", "-shm"):
        (tmp_path / f".index.sqlite{ending}").write_bytes(b"this is not a database")
    assert {run.name for run in list_runs(tmp_path)} == names
    assert (tmp_path / ".index.sqlite").read_bytes() == b"this is not a database"
    remove_old_index(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names
    remove_old_index(tmp_path)
    remove_old_index(tmp_path / "none")


def test_find_by_name_beginning_digits_and_folder(tmp_path):
    lora, dream = make(tmp_path, 1), make(tmp_path, 1, "dreambooth")
    assert find_run(tmp_path, lora).name == lora
    assert find_run(tmp_path, "finetune-l").name == lora
    assert find_run(tmp_path, dream.rpartition("-")[2][:8]).name in {lora, dream}
    assert find_run(Path("nowhere"), tmp_path / dream).name == dream
    with pytest.raises(BadInput, match="fits 2 runs") as caught:
        find_run(tmp_path, "finetune-")
    assert lora in str(caught.value)
    assert dream in str(caught.value)
    for word in ("audit", ""):
        with pytest.raises(BadInput, match="known are"):
            find_run(tmp_path, word)
    with pytest.raises(BadInput, match="no runs yet"):
        find_run(tmp_path / "none", "x")


def test_listing_needs_no_torch(tmp_path):
    make(tmp_path, 1)
    code = (
        "import sys, pathlib; from intaglio.runs.store import list_runs; "
        f"assert len(list_runs(pathlib.Path({str(tmp_path)!r}))) == 1; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
