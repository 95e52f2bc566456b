"""The bench of edges between filters: its figures by hand, and its rows end to end."""

import json

import pytest

from intaglio.bench.paths import bench
from intaglio.bench.paths.bench import PathsBench, by_cell, figures_of
from intaglio.explain.repairs.methods.cut_edges import CutEdges
from intaglio.explain.repairs.methods.last_layer import LastLayer
from marked_scenes import planted


def test_cells_where_class_and_corner_agree():
    cells = {("noto", False): 0.1, ("noto", True): 0.9, ("another artist", False): 0.7, ("another artist", True): 0.3}
    assert by_cell(cells) == pytest.approx({"worst": 0.1, "mean": 0.5, "kept": 0.8})


def test_figures_by_hand():
    row = {"mean": 0.5, "kept": 0.6, "gap": 0.1, "cut": 0.02, "seconds": 1.0}
    names = ("cut-edges", "last-layer")
    trainings = [
        {
            "before": {"worst": 0.1 * k, "mean": 0.5, "kept": 0.9},
            "rows": {name: {**row, "worst": 0.4 + 0.2 * k} for name in names},
            "graphs": {"interventions": {"overlap": 0.5 + k / 10}},
        }
        for k in range(2)
    ]
    found = figures_of(trainings, 1.0)
    assert (found["worst"], found["worst_before"], found["overlap"]) == pytest.approx((0.5, 0.05, 0.55))
    half = 12.7062047 * 0.05  # t of one degree of freedom at 97.5%, of gains 0.4 and 0.5
    assert found["rows"]["last-layer"]["gain"] == pytest.approx([0.45 - half, 0.45 + half])


def test_rows_end_to_end_and_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    asked = []

    def stopping(seed):
        asked.append(seed)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return planted(seed)

    monkeypatch.setattr(bench, "marked_pictures", stopping)
    monkeypatch.setattr(bench, "SCREENED", 2)
    small = PathsBench(trainings=2, runs=tmp_path)
    monkeypatch.setattr(
        PathsBench, "_repairs", lambda self: {"cut-edges": CutEdges(screened=4), "last-layer": LastLayer()}
    )
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert asked == [0, 1, 1]
    assert json.loads(json.dumps(found)) == found
    assert found["worst_before"] < 0.5
    assert found["rows"]["last-layer"]["worst"] >= found["worst_before"]
    assert "class graph" in small.summary(found)
