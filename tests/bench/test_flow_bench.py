"""The flow bench end to end on a tiny flow, and its arithmetic."""

import json

import pytest
import torch

import tiny
from intaglio.bench.flow import bench as bench_module
from intaglio.bench.flow import cell
from intaglio.bench.flow.bench import FlowBench, headline
from intaglio.bench.flow.cell import sliced
from intaglio.flow.calibrate import block_timings, calibration
from intaglio.flow.methods import gs_jacobi, jacobi, sejd
from intaglio.models.flow.tarflow_files import save_flow

WANTED = {
    f"{name}{suffix}"
    for suffix in ("", "_b1", "_b64")
    for name in (
        "speedup_auto_vs_sequential",
        "speedup_auto_vs_reference_sequential",
        "speedup_sejd_vs_sequential",
        "speedup_gs_vs_sequential",
        "ratio_to_floor_auto",
        "max_abs_diff_auto",
        "max_abs_diff_sejd",
    )
}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    for name, value in {"FITTED": 4, "JUDGED": 2, "PROVED": 2, "TURNS": 1}.items():
        monkeypatch.setattr(calibration, name, value)
    monkeypatch.setattr(block_timings, "LEVELS", (1.0, 0.2))
    monkeypatch.setattr(block_timings, "COARSE", (0, 1))
    for module in (jacobi, sejd):
        monkeypatch.setattr(module, "TOLERANCES", (0.5, 1e-3, 1e-6))
    monkeypatch.setattr(gs_jacobi, "SEGMENTS", (4,))
    monkeypatch.setattr(cell, "JUDGED", 2)
    monkeypatch.setattr(gs_jacobi, "OTHER_SWEEPS", (4,))
    monkeypatch.setattr(bench_module, "SUFFIX", {3: "", 1: "_b1", 2: "_b64"})
    save_flow(tiny.flow(size=(4, 8), blocks=2, double=False, noise_std=0.1), tmp_path / "m")
    return FlowBench(
        model=str(tmp_path / "m"), runs=tmp_path / "runs", batches=(1, 2, 3), guidances=(0.0, 0.5), repeats=1
    )


def test_it_gives_every_wanted_figure_and_goes_on_where_it_was(bench, monkeypatch):
    made, original = [], cell.FlowCell.measured

    def counted(self, repeats):
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append((self._batch, self._guidance.scale))
        return original(self, repeats)

    with monkeypatch.context() as patch:
        patch.setattr(cell.FlowCell, "measured", counted)
        with pytest.raises(KeyboardInterrupt):
            bench(progress="none")
    assert made == [(1, 0.0), (2, 0.0), (3, 0.0), (1, 0.5)]
    monkeypatch.setattr(cell.FlowCell, "measured", lambda self, n: made.append("more") or original(self, n))
    figures = bench(progress="none")
    assert made[4:] == ["more", "more"]
    assert figures.keys() >= WANTED
    assert json.loads(json.dumps(figures, allow_nan=False))["tokens"] == 8
    assert len(figures["cells"]) == 6
    widest = figures["cells"]["batch 3, guidance 0"]
    by = widest["decoders"]
    assert by["sequential"]["speedup"] == 1
    assert by["sequential"]["largest"] == 0
    for name in ("sejd exact", "auto exact", "frontier exact", "jacobi exact"):
        assert by[name]["largest"] < 1e-3
        assert by[name]["round_trip"] < 0.1
    assert by["sejd near"]["largest"] <= 2 / 127.5
    assert by["jacobi paper"]["settings"]["tau"] == 0.5
    assert figures["cells"]["batch 3, guidance 0.5"]["decoders"]["sejd exact"]["round_trip"] is None
    assert figures["speedup_auto_vs_sequential"] == by["auto near"]["speedup"]
    assert figures["speedup_auto_vs_sejd_near"] == by["auto near"]["speedup"] / by["sejd near"]["speedup"]
    assert figures["calibration_seconds"] == widest["calibration_seconds"]["near"] > 0
    assert "auto near" in bench.summary(figures)


def test_the_headline_leaves_out_what_was_not_measured():
    of = {"speedup": 1.0, "ratio_to_floor": 3.0, "largest": 0.1, "forwards": 4.0}
    cell = {"decoders": {"sequential": of, "sejd paper": {**of, "speedup": 2.0}}, "numeric_floor": 1e-6}
    found = headline(cell)
    assert found["speedup_sejd_vs_sequential"] == 2.0
    assert found["speedup_auto_vs_sequential"] is None


def test_a_speed_is_the_median_of_the_ratios_within_a_turn():
    # the machine is three times as slow in the second turn; the decoder is twice as fast as sequential in each
    found = cell._speed([1.0, 3.0, 1.1], [2.0, 6.0, 2.2], [0.5, 1.5, 0.5])
    assert found["speedup"] == pytest.approx(2.0)
    assert (found["fastest"], found["slowest"], found["timings"]) == (1.0, 3.0, 3)


def test_busy_processes_end_with_the_block_also_after_an_error(monkeypatch):
    started, original = [], bench_module.subprocess.Popen
    monkeypatch.setattr(
        bench_module.subprocess, "Popen", lambda *a, **k: started.append(original(*a, **k)) or started[-1]
    )

    def fails():
        with bench_module.busy_processes(2):
            assert [process.poll() for process in started] == [None, None]
            raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        fails()
    assert all(process.poll() is not None for process in started)
    with bench_module.busy_processes(0):
        assert len(started) == 2


def test_the_sliced_distance_of_shifted_pictures_is_the_shift():
    one = torch.randn(500, 4, 3, generator=torch.Generator().manual_seed(0))
    shifted = one + 1.0
    # a direction w sees the shift sum(w); over unit directions its mean size is sqrt(2 / pi)
    assert sliced(one, one) == 0
    assert sliced(one, shifted) == pytest.approx((2 / torch.pi) ** 0.5, rel=0.2)
    assert sliced(one, one[torch.randperm(500)]) == pytest.approx(0, abs=1e-9)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="repeats"):
        FlowBench(repeats=0)
    with pytest.raises(ValueError, match="threads"):
        FlowBench(threads=0)
    with pytest.raises(ValueError, match="batches"):
        FlowBench(batches=(0,))
    with pytest.raises(ValueError, match="busy"):
        FlowBench(busy=-1)


def test_threads_are_as_many_as_asked_for_and_as_before_afterwards():
    before = torch.get_num_threads()
    with bench_module._threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    assert (FlowBench(quick=True)._threads, FlowBench(threads=3)._threads) == (1, 3)
    assert FlowBench()._threads == before
