"""What was made from what, and runs side by side."""

import json
from pathlib import Path

import pytest

from intaglio.bench.face.synthetic_runs import append_rows, header_of, make_run, name_of, picture
from intaglio.view.comparing import figures_rows, overlays, picture_rows, settings_rows
from intaglio.view.index import RunEntry, RunIndex, RunInput
from intaglio.view.lineage import Lineage
from intaglio.view.live import StreamTail, Tails, curves


def entry(name: str, **inputs: tuple[str, str]) -> RunEntry:
    given = [RunInput(role, path, sha256) for role, (path, sha256) in inputs.items()]
    return RunEntry(Path(name), name, name, "", "", "done", "", "", 1.0, "", (), given, "", name)


BASE = ("models/base", "b" * 64)


def drawn(node) -> object:
    name = node.entry.key if node.entry else node.origin.name
    return {name: [drawn(child) for child in node.children]} if node.children else name


def test_an_audit_stands_below_the_fine_tune_whose_folder_its_suspect_lies_in():
    runs = [
        entry("audit", suspect=("/elsewhere/moved/tune/model", "t" * 64), base=BASE),
        entry("copied", suspect=("/a/copy.safetensors", "t" * 64), base=BASE),
        entry("draw", model=(r"C:\runs\tune\model", "t" * 64)),
        entry("tune", model=BASE),
        entry("other", suspect=("x/unknown", "u" * 64), base=BASE),
        entry("alone"),
    ]
    below = {"tune": ["audit", "copied", "draw"]}
    trees = Lineage(runs).trees()
    assert [drawn(tree) for tree in trees] == [{"models/base": [below]}, {"x/unknown": ["other"]}]
    assert [tree.size for tree in trees] == [4, 1]
    assert drawn(Lineage(runs).around("draw")) == {"models/base": [{"tune": ["draw"]}]}
    assert drawn(Lineage(runs).around("tune")) == {"models/base": [below]}


def test_a_run_of_two_makers_stands_below_the_nearer_and_names_the_other():
    runs = [
        entry("merge", model_0=("runs/one/model", "1" * 64), model_1=("runs/two/model", "2" * 64)),
        entry("two", model=BASE),
        entry("one", model=BASE),
    ]
    (tree,) = Lineage(runs).trees()
    assert drawn(tree) == {"models/base": ["two", {"one": ["merge"]}]}
    merge = tree.children[1].children[0]
    assert [(role, maker.key) for role, maker in merge.also] == [("model_1", "two")]


def test_runs_that_claim_to_come_from_each_other_make_no_circle():
    runs = [
        entry("a", suspect=("runs/b/model", "")),
        entry("b", suspect=("runs/c/model", "")),
        entry("c", suspect=("runs/a/model", "")),
        entry("d", suspect=("runs/d/model", "")),
    ]
    lineage = Lineage(runs)
    assert sum(tree.size for tree in lineage.trees()) >= 1
    assert lineage.around("a") is not None
    assert set(lineage._parents) <= {"a", "b", "c"}
    assert len(lineage._parents) == 2


def test_settings_that_differ_stand_apart_from_those_that_do_not():
    first, second = header_of(0, status="done"), header_of(4, status="done")
    rows = settings_rows([first, second])
    differing = {row.name: row.cells for row in rows.differing}
    assert differing["steps"] == ["100", "500"]
    assert differing["seed"] == ["0", "1"]
    assert differing["prompt"] == [header["settings"]["prompt"] for header in (first, second)]
    assert ("learning rate", "0.0001") in rows.equal
    assert not {row.name for row in rows.differing} & {name for name, _ in rows.equal}


def test_the_change_of_a_figure_is_the_second_less_the_first():
    headers = [{"summary": {"auc": 0.5, "only": 1, "word": "a"}}, {"summary": {"auc": 0.75, "word": "b"}}]
    found = {row.name: (row.cells, row.change) for row in figures_rows(headers).differing}
    assert found == {"auc": (["0.5", "0.75"], "+0.25"), "only": (["1", "–"], ""), "word": (["a", "b"], "")}
    assert figures_rows([*headers, headers[0]]).differing[0].change == ""


def test_curves_lie_over_each_other_and_only_differing_pictures_are_shown(tmp_path):
    for number in (0, 4, 8):
        make_run(tmp_path, number, steps=30 if number < 8 else 0)
        for name, kind in (("same", 1), ("own", number)):
            path = tmp_path / name_of(number) / "images" / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture(kind))
    index = RunIndex(tmp_path)
    index.refresh()
    entries = [index.find(name_of(number)) for number in (0, 4, 8)]
    (one,) = overlays([Tails().series(entry.folder) for entry in entries])
    assert one.plot.count("<path") == 2
    assert "curve run0" in one.plot
    assert "curve run1" in one.plot
    rows, same, left = picture_rows(entries)
    assert ([row.name for row in rows], same, left) == (["images/own.png"], 1, 0)


def test_a_stream_is_read_on_from_its_end_and_anew_where_it_was_cut(tmp_path):
    folder = make_run(tmp_path, 0, steps=3)
    path = folder / "metrics" / "train.jsonl"
    tail = StreamTail(path)
    tail.read()
    with path.open("a") as file:
        file.write('{"step": 4, "loss": 0.5}\n{"step": 5, "lo')
    tail.read()
    assert [step for step, _ in tail.series()["loss"]] == [1, 2, 3, 4]
    with path.open("a") as file:
        file.write('ss": 0.25}\nno json\n{"step": 6, "loss": NaN}\n{"step": 7, "seconds": 3}\n')
    tail.read()
    assert tail.series()["loss"][-1] == (5.0, 0.25)
    assert set(tail.series()) == {"loss"}  # times are left out
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"step": 1, "loss": 9.0}) + "\n")
    fresh.replace(path)
    tail.read()
    assert tail.series()["loss"] == [(1.0, 9.0)]


def test_a_curve_tells_its_last_value(tmp_path):
    folder = make_run(tmp_path, 0, steps=12)
    append_rows(folder, 13, 14)
    (curve,) = curves(Tails().series(folder))
    last = json.loads((folder / "metrics" / "train.jsonl").read_text().splitlines()[-1])
    assert curve.last == f"{last['loss']:.4g} at step 14"


@pytest.mark.parametrize("content", ["", "\n\n", "[1]\n", '{"step": "x", "loss": 1}\n'])
def test_rows_that_are_none_draw_nothing(tmp_path, content):
    folder = make_run(tmp_path, 0)
    (folder / "metrics").mkdir()
    (folder / "metrics" / "odd.jsonl").write_text(content)
    assert curves(Tails().series(folder)) == []
