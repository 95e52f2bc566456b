"""The bench of surrogates: its figures by hand, and its rows end to end."""

import json
from dataclasses import replace

import pytest

import explain_scenes
import surrogate_scenes
from intaglio.bench.surrogate import bench
from intaglio.bench.surrogate.bench import SurrogateBench, figures_of
from intaglio.explain.surrogate.methods.drawn_columns import DrawnColumns
from intaglio.explain.surrogate.methods.two_phase import TwoPhaseSurrogate


def test_figures_by_hand():
    row = {"kept": [0.8, None], "fidelity": [0.5, 0.7], "knee": [3, 4], "knee_fidelity": [0.4, 0.4]}
    row |= {
        "agreement": [1.0, 0.5],
        "forest": [0.4, 0.5],
        "ceiling": [0.5, 0.0],
        "columns": 9,
        "clusters": 8,
        "rows": 60,
    }
    found = figures_of({"denoiser two-phase": {**row, "seconds": 1.0}}, 2.0)
    assert found["kept_denoiser_two_phase"] == pytest.approx(0.4)
    assert found["rows"]["denoiser"]["two-phase"]["knee"] == 3.5
    assert found["rows"]["denoiser"]["two-phase"]["fidelity_range"] == [0.5, 0.7]


def test_rows_end_to_end_and_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    small = {"trees": 3, "most": 3, "depth": 2}
    methods = {"two-phase": TwoPhaseSurrogate(**small, permutations=1), "drawn-columns": DrawnColumns(**small)}
    monkeypatch.setattr(bench, "default_methods", lambda verb, **changes: methods)
    monkeypatch.setattr(bench, "pictures", lambda: explain_scenes.pictures(2))
    monkeypatch.setattr(bench, "source_rows", lambda source, images, seed: surrogate_scenes.small())
    asked, ask = [], bench.measured

    def stopping(method, rows, seeds):
        asked.append((method.name, len(seeds)))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(method, rows, seeds)

    monkeypatch.setattr(bench, "measured", stopping)
    small_bench = SurrogateBench(quick=True, runs=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        small_bench(progress="none")
    found = small_bench(progress="none")
    assert asked == [("two-phase", 2), *[("drawn-columns", 2)] * 2, ("two-phase", 2), ("drawn-columns", 2)]
    assert json.loads(json.dumps(found)) == found
    assert "drawn-columns" in small_bench.summary(found)
    assert found["rows"]["denoiser"]["two-phase"]["rows"] == 60


def test_a_source_without_the_head_cannot_be_asked(monkeypatch):
    rows = replace(surrogate_scenes.small(), ask=surrogate_scenes.says)
    monkeypatch.setattr(bench, "network_rows", lambda scored, images: rows)
    monkeypatch.setattr(bench, "denoiser_features", lambda images, seed: {"features": rows.features[:, :5]})
    images = explain_scenes.pictures(2)
    assert bench.source_rows("classifier", images, 0).ask is surrogate_scenes.says
    other = bench.source_rows("denoiser", images, 0)
    assert other.ask is None
    assert other.features.shape[1] == 5
