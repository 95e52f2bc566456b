"""`intaglio runs` over folders of runs as `Run` leaves them."""

import json
import os

import pytest

from intaglio.cli import main
from intaglio.commands.kit import dispatch
from intaglio.runs.run import Run
from intaglio.verbs import Verb


@pytest.fixture
def start_run(tmp_path):
    def start(seed: int, command=("play", "it"), verb="play", method="toy") -> Run:
        inputs = {"model": {"path": "base", "sha256": "0" * 64}}
        return Run.open(
            tmp_path, verb, method, {"steps": 3}, inputs, seed=seed, device="cpu", command=command, progress="none"
        )

    return start


@pytest.fixture
def runs(tmp_path, capsys):
    def run(*words: str):
        code = main(["runs", *words, "--runs", str(tmp_path)])
        return code, *capsys.readouterr()

    return run


def test_an_empty_folder_lists_nothing(runs):
    code, out, err = runs()
    assert (code, out) == (0, "")
    assert "no runs in" in err


def test_a_listing_has_a_line_a_run(start_run, runs):
    with start_run(1) as done, start_run(2) as other:
        done.finish({"score": 0.5})
        code, out, _ = runs("list")
        head, *lines = out.splitlines()
        assert (code, head.split()) == (0, ["run", "status", "started", "took", "of", "result"])
        assert {line.split()[0]: line.split()[1] for line in lines} == {done.name: "done", other.name: "running"}
    os.utime(other.folder / "run.json", (0, 0))
    lines = runs("list")[1].splitlines()[1:]
    assert {line.split()[0]: line.split()[1] for line in lines} == {done.name: "done", other.name: "unfinished"}
    names = {about["name"] for about in json.loads(runs("list", "--json")[1])}
    assert names == {done.name, other.name}


def test_a_run_is_shown_by_part_of_its_name(start_run, runs):
    with start_run(1) as run:
        run.warn("mind the gap")
        run.finish({"score": 0.5, "long": list(range(100))})
    code, out, _ = runs("show", run.name[-10:-4])
    assert code == 0
    lines = {line.split("  ")[0]: line.partition("  ")[2].strip() for line in out.splitlines()}
    assert lines["run"] == run.name
    assert lines["command"] == "intaglio play it"
    assert lines["setting steps"] == "3"
    assert lines["result score"] == "0.5"
    assert lines["warning"] == "mind the gap"
    assert json.loads(runs("show", run.name, "--json")[1])["summary"]["long"] == list(range(100))


def test_resume_runs_the_stored_command_in_this_process(start_run, runs, monkeypatch):
    monkeypatch.setattr(dispatch, "VERBS", {**dispatch.VERBS, "tell": Verb("toy:Tell", "tell of a toy", {})})
    with start_run(1, ("tell", "it", "--loud"), "tell") as run:
        pass
    code, _, err = runs("resume", run.name)
    assert code == 3  # the exit code of the toy itself
    assert "intaglio tell it --loud" in err


def test_a_finished_run_has_nothing_to_resume(start_run, runs):
    with start_run(1) as run:
        run.finish({})
    code, out, err = runs("resume", run.name)
    assert (code, out) == (0, "")
    assert "done already" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show"], "wants the name of a run"),
        (["resume", "nowhere"], "no run in"),
        (["list", "this"], "takes no run"),
        (["reindex", "--json"], "--json belongs to"),
    ],
)
def test_what_cannot_work_is_said(runs, words, says):
    code, out, err = runs(*words)
    assert (code, out) == (2, "")
    assert says in err


def test_a_run_from_python_cannot_be_resumed_here(start_run, runs):
    with start_run(1, ()) as run:
        pass
    code, _, err = runs("resume", run.name)
    assert code == 2
    assert "from Python" in err


def test_reindex_counts_the_runs_and_removes_an_old_index(start_run, runs, tmp_path):
    for seed in range(3):
        start_run(seed).close()
    (tmp_path / ".index.sqlite").write_bytes(b"old")
    code, out, _ = runs("reindex")
    assert code == 0
    assert out.startswith("3 runs in ")
    assert not (tmp_path / ".index.sqlite").exists()
