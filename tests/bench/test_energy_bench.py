"""The bench of energy estimates: its scores in closed form, its devices on a planted machine."""

import math

import pytest

import tiny
from intaglio.bench.energy import bench as energy_bench
from intaglio.bench.energy import pruning_cell
from intaglio.bench.energy.bench import EnergyBench
from intaglio.bench.energy.estimate_scores import scores_of
from intaglio.bench.energy.machine_cell import MachineCell
from intaglio.energy.devices.device import Measurement
from intaglio.energy.devices.torch_device import TorchDevice
from intaglio.energy.processes import family_process
from intaglio.energy.processes.matern_process import fitted
from intaglio.energy.pruning import width_costs
from intaglio.energy.pruning.call_budget import CallBudget
from intaglio.energy.step_estimate import StepEstimate
from intaglio.runs.run import Run


def told(amount, sd=1.0):
    return StepEstimate(amount, sd, 1.0, "J", "modelled")


def test_scores_in_closed_form():
    scores = scores_of([told(11.0, 0.1), told(18.0, 2.0), told(30.0, 0.1)], [10.0, 20.0, 30.0])
    assert scores.mape == pytest.approx((0.1 + 0.1 + 0) / 3)
    assert scores.bias == pytest.approx(0.0)
    assert scores.rank == pytest.approx(1.0)
    assert scores.coverage_95 == pytest.approx(2 / 3), "11 ± 0.2 does not hold 10"
    assert scores_of([told(3.0, math.inf), told(2.0)], [1.0, 2.0]).coverage_95 is None
    assert scores_of([told(3.0), told(2.0), told(1.0)], [1.0, 2.0, 3.0]).rank == pytest.approx(-1.0)


@pytest.fixture
def quick_fits(monkeypatch):
    monkeypatch.setattr(family_process, "fitted", lambda *given: fitted(*given[:3], starts=1))


def test_the_simulated_suite_has_a_row_a_method_and_is_found_again(tmp_path, monkeypatch, quick_fits):
    monkeypatch.setattr(energy_bench, "SIMULATED", {"smooth": {}})
    bench = EnergyBench(suites=("simulated",), held_out=8, runs=tmp_path)
    figures = bench(progress="none")
    methods = figures["devices"]["sim-smooth"]["methods"]
    assert set(methods) == {"thor", "flops-linear", "flops-affine", "parameters-affine", "neural-power", "mean-power"}
    assert figures["mape_thor_sim"] == methods["thor"]["mape"] < 0.03
    assert figures["mape_flops_sim"] == methods["flops-linear"]["mape"]
    assert methods["parameters-affine"]["mape"] > 0.2
    assert figures["mape_thor_gpu"] is None
    assert figures["profile_minutes"] is None
    assert "thor" in bench.summary(figures)
    monkeypatch.setattr(energy_bench, "simulated_cell", None)
    assert bench(progress="none") == figures


def test_the_machine_is_profiled_for_networks_that_it_is_not_corrected_by(monkeypatch, quick_fits):
    def planted(device, layers):
        cost = 1e-9 * sum(layer.work for layer in layers)
        return Measurement(1e-6 + cost, (1e-3 * cost) ** 2, 1e-6 + cost, (1e-3 * cost) ** 2)

    monkeypatch.setattr(TorchDevice, "measure", planted)
    monkeypatch.setattr(TorchDevice, "measure_step", lambda device, step: Measurement(2.0, 1e-6, 1.0, 1e-6))
    monkeypatch.setattr("intaglio.bench.energy.machine_cell.QUICK_POINTS", 3)
    found = MachineCell("cpu", 5, 0.1, seed=0, quick=True).measured(Run.none())
    assert found.name in ("machine-cpu-seconds", "machine-cpu")
    assert len(found.steps) == len(found.truth) == 5 + 3
    assert set(found.truth) == {2.0}
    known = {str(network.step) for network in found.profile.calibration}
    assert known.isdisjoint(map(str, found.steps))


@pytest.mark.parametrize(("field", "value"), [("networks", 4), ("held_out", 0), ("window", 0.0)])
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        EnergyBench(**{field: value})


def test_pruning_has_a_row_a_measure_beside_the_whole_model(tmp_path, monkeypatch, quick_fits):
    def planted(device, layers):
        cost = 1e-9 * sum(layer.work for layer in layers)
        return Measurement(1e-6 + cost, (1e-3 * cost) ** 2, 1e-6 + cost, (1e-3 * cost) ** 2)

    folder = tiny.sd_folder(tmp_path / "tiny", unet_changes={"attention_head_dim": 4})
    monkeypatch.setattr(TorchDevice, "measure", planted)
    monkeypatch.setattr(TorchDevice, "measure_step", lambda device, step: Measurement(1.0, 1e-6, 1.0, 1e-6))
    monkeypatch.setattr(width_costs, "LEVELS", 4)
    monkeypatch.setattr(pruning_cell, "base_path", lambda: folder)
    monkeypatch.setattr(pruning_cell, "controls_wide", lambda: tiny.some_pictures(0, 6))
    monkeypatch.setattr(pruning_cell, "BUDGET", CallBudget(0.8))
    for name, value in {"QUICK_POINTS": 3, "QUICK_STEPS": 1, "QUICK_NETWORKS": 1, "LEAST": 0.5, "BATCH": 1}.items():
        monkeypatch.setattr(pruning_cell, name, value)
    bench = EnergyBench(suites=("pruning",), quick=True, runs=tmp_path)
    figures = bench(progress="none")
    assert set(figures["pruning"]) == {"unpruned", "energy"}
    row = figures["pruning"]["energy"]
    assert 0.5 < row["predicted_ratio"] < 0.85
    assert figures["prune_predicted_ratio"] == row["predicted_ratio"]
    assert figures["prune_measured_ratio"] == row["measured_ratio"] == 1.0
    assert figures["prune_error_before"] == figures["pruning"]["unpruned"]["error_pruned"]
    assert figures["prune_error_after"] == row["error_recovered"]
    assert figures["mape_thor_sim"] is None
    assert "energy" in bench.summary(figures)


def test_quick_leaves_pruning_to_those_who_ask_for_it():
    assert "pruning" in EnergyBench()._suites
    assert "pruning" not in EnergyBench(quick=True)._suites
    assert EnergyBench(quick=True, suites=("pruning",))._suites == ("pruning",)
