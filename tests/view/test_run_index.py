"""The runs of a folder as the page knows them: read once, read again where changed, searched, filtered, ordered."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from intaglio.bench.face.synthetic_runs import header_of, make_run, name_of
from intaglio.errors import BadInput
from intaglio.view.index import RunIndex
from intaglio.view.query import PAGE, RunQuery, answer, choices


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("many")
    for number in range(PAGE + 7):
        make_run(root, number)
    return root


def read(root: Path) -> RunIndex:
    index = RunIndex(root)
    index.refresh()
    return index


def test_every_run_is_known_the_newest_first(runs):
    entries = read(runs).known().entries
    assert [entry.key for entry in entries] == [name_of(k) for k in reversed(range(PAGE + 7))]
    assert read(runs).known().unread == 0


def test_what_changes_is_read_again_and_nothing_else(tmp_path, monkeypatch):
    from intaglio.view import index as module

    for number in range(3):
        make_run(tmp_path, number)
    index, seen = read(tmp_path), []
    known = module.read_folder
    monkeypatch.setattr(module, "read_folder", lambda folder: seen.append(folder.name) or known(folder))
    (tmp_path / name_of(1) / "run.json").write_text(json.dumps(header_of(1, status="failed", error="no room")))
    make_run(tmp_path, 3)
    (tmp_path / name_of(0) / "run.json").unlink()
    index.refresh()
    assert sorted(seen) == sorted([name_of(1), name_of(3)])
    assert {entry.key for entry in index.known().entries} == {name_of(k) for k in (1, 2, 3)}
    assert index.find(name_of(1)).status == "failed"
    assert index.find(name_of(0)) is None


@pytest.mark.parametrize("content", ["{", '{"format": 99}', '{"name": 3}', "[" * 500, '{"name": "x", "seconds": -1}'])
def test_a_damaged_run_is_a_row_with_its_reason(tmp_path, content):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "run.json").write_text(content)
    make_run(tmp_path, 0)
    entry = read(tmp_path).find("odd")
    assert entry.status == "damaged"
    assert "run.json" in entry.error
    assert len(read(tmp_path).known().entries) == 2


def test_a_pipe_in_place_of_a_run_json_is_not_waited_for(tmp_path):
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "run.json")
    assert read(tmp_path).find("pipe").status == "damaged"


def test_an_unfinished_run_is_running_while_its_lock_is_held(tmp_path):
    folder = make_run(tmp_path, 1, status="unfinished", finished=None)
    os.utime(folder / "run.json", (1, 1))
    beside = make_run(tmp_path, 2, status="unfinished", finished=None)
    (beside / ".lock").touch()
    os.utime(beside / "run.json", (1, 1))
    index = read(tmp_path)
    assert index.find(name_of(1)).status == "unfinished"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        index.refresh()
        assert index.find(name_of(1)).status == "running"
        assert index.find(name_of(2)).status == "unfinished"  # another's lock is none of its own
    index.refresh()
    assert index.find(name_of(1)).status == "unfinished"
    os.utime(folder / "run.json")
    index.refresh()
    assert index.find(name_of(1)).status == "running"  # its lock may be on another machine


@pytest.mark.parametrize("name", ["no such folder", "a file"])
def test_a_root_that_is_no_folder_is_refused(tmp_path, name):
    (tmp_path / "a file").touch()
    with pytest.raises(BadInput, match="give the folder"):
        RunIndex(tmp_path / name)


def test_words_and_filters_leave_what_fits_all_of_them(runs):
    entries = read(runs).known().entries

    numbers = {name_of(k): k for k in range(PAGE + 7)}

    def found(**asked):
        rows = answer(entries, RunQuery.of(asked)).rows
        return {numbers[entry.key] for entry in rows}

    assert found(q="WATERCOLOUR steps=200") == {k for k in range(PAGE + 7) if k % 6 == 1 and k % 5 == 1}
    assert found(verb="extract") == {k for k in range(PAGE + 7) if k % 4 == 3}
    assert found(method="lora", q="seed=2") == {k for k in range(PAGE + 7) if k % 4 == 0 and k % 3 == 2}
    failed = {k for k in range(PAGE + 7) if header_of(k)["status"] == "failed"}
    assert found(status="failed") == failed != set()
    assert found(q="nothing has this") == set()
    assert dict(choices(entries, RunQuery(verb="extract")).methods) == {"cfg": len(found(verb="extract"))}


def test_orders_and_pages(runs):
    entries = read(runs).known().entries
    longest = answer(entries, RunQuery.of({"order": "-took"}))
    times = [entry.seconds for entry in longest.rows]
    assert times == sorted((header_of(k)["seconds"] for k in range(PAGE + 7)), reverse=True)[:PAGE]
    assert (longest.total, longest.pages, longest.first) == (PAGE + 7, 2, 1)
    last = answer(entries, RunQuery.of({"page": "99"}))
    assert (len(last.rows), last.first, last.query.page) == (7, PAGE + 1, 2)


def test_an_address_says_the_question_and_is_read_back():
    query = RunQuery.of({"q": "a b&c", "verb": "finetune", "order": "took", "page": "3"}, ["x", "y", "x"])
    assert query.address() == "/?q=a+b%26c&verb=finetune&order=took&pick=x&pick=y"
    assert query.address(page=2).endswith("page=2&pick=x&pick=y")
    assert RunQuery().address() == "/"
    assert RunQuery.of({"order": "evil", "page": "-3"}) == RunQuery()


def test_the_list_shows_the_first_numbers_with_short_names(tmp_path):
    summary = {"word": "x", "flag": True, "auc": 0.51234, "seconds": 3.0, "deep": {"a": {"b": 1}, "half_way": 2_000}}
    make_run(tmp_path, 0, status="done", summary=summary | {"a_name_that_is_much_too_long_here": 1, "last": 7})
    assert read(tmp_path).find(name_of(0)).figures == (("auc", "0.512"), ("deep half way", "2,000"), ("last", "7"))


def test_while_many_are_read_the_last_written_are_there_and_the_rest_is_counted(runs, monkeypatch):
    from intaglio.view import index as module

    monkeypatch.setattr(module, "SHOW_EVERY", 10)
    for age in range(PAGE + 7):  # the run with the highest number was written last
        os.utime(runs / name_of(age) / "run.json", (1e9 + age, 1e9 + age))
    index = RunIndex(runs)
    assert (index._known.begun, index._known.entries) == (False, ())
    seen, show = [], index._show
    monkeypatch.setattr(index, "_show", lambda unread: (show(unread), seen.append(index._known)))
    index.refresh()
    assert [known.unread for known in seen] == [*range(PAGE + 5, 0, -10), 0]
    assert [entry.key for entry in seen[0].entries] == [name_of(PAGE + 6), name_of(PAGE + 5)]
    assert all(len(known.entries) + known.unread == PAGE + 7 for known in seen)


def test_an_empty_folder_is_known_to_be_empty(tmp_path):
    index = read(tmp_path)
    assert (index.known().begun, index.known().unread, len(index.known().entries)) == (True, 0, 0)
