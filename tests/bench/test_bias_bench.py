"""The bench of uneven values end to end on a tiny model."""

import json

import pytest

import tiny
from intaglio.bench.bias import bench as room
from intaglio.bench.bias.bench import BiasBench
from intaglio.errors import BadInput
from intaglio.models import testbed


def test_rows_are_measured_once_and_the_bench_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    base = tiny.sd_folder(tmp_path / "base")
    monkeypatch.setattr(testbed, "base_path", lambda: base)
    small = {"QUICK_SAMPLES": 6, "QUICK_PICTURES": 3, "QUICK_STEPS": 1, "QUICK_SITES": ("mid_block",)}
    for name, value in {**small, "WORDS": (" a", " b", " c"), "PROMPTS": {"cat": "Objects"}}.items():
        monkeypatch.setattr(room, name, value)
    measured, asked = room.evened_pictures, []

    def stopping(model, method, *args, **options):
        asked.append(method.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return measured(model, method, *args, **options)

    monkeypatch.setattr(room, "evened_pictures", stopping)
    monkeypatch.setattr(room, "CODES", {"features": 2, "strength": 2.0, "expansion": 1, "updates": 3, "active": 2})
    bench = BiasBench(quick=True, rows=("steering mid_block", "random-features mid_block"), runs=tmp_path / "runs")
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    found = bench(progress="none")
    assert asked == ["random-features", "steering", "steering"]
    assert len(bench.summary(found).splitlines()) == 4
    assert json.dumps(found)
    assert found["bias_named"] == found["rows"]["named"]["bias_after"]
    assert found["rows"]["named"]["bias_before"] == pytest.approx(found["rows"]["steering mid_block"]["bias_before"])
    assert found["rows"]["named"]["ahead_of_chance"] is None
    (run,) = bench.runs.glob("bench-bias-*")
    assert not list((run / "states").glob("*"))


def test_a_row_that_there_is_not_is_refused():
    with pytest.raises(BadInput, match="no row called 'steering'; choose from: difflens mid_block"):
        BiasBench(rows=("steering",))()
