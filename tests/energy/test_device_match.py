"""A machine's facts, and profiles of other machines: refused, widened, or taken as another unit of the model."""

import getpass
import json
import math
import platform
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from energy_profiles import DEVICE, REGIME, small_profile
from intaglio.energy.device_match import check_device
from intaglio.energy.profile.fingerprint import MODES, Fingerprint, fingerprint
from intaglio.energy.profile.profile_file import load_profile, save_profile
from intaglio.energy.step_estimate import StepEstimate
from intaglio.errors import BadInput

HERE = Fingerprint(DEVICE, REGIME)
ESTIMATE = StepEstimate(10.0, 1.0, 2.0, "J", "modelled", warnings=("before",))


def elsewhere(**facts):
    device = {key: value for key, value in facts.items() if key in ("model", "memory_gb", "cores", "kind")}
    regime = {key: value for key, value in facts.items() if key not in device}
    return Fingerprint({**DEVICE, **device}, {**REGIME, **regime})


@pytest.mark.parametrize("policy", ["strict", "warn"])
def test_the_same_machine_changes_nothing(policy):
    assert check_device(small_profile(), HERE, policy).widened(ESTIMATE) == ESTIMATE


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"model": "Other"}, "model Simulator there, Other here"),
        ({"memory_gb": 32}, "memory gb 16 there, 32 here"),
        ({"threads": 1}, "threads 4 there, 1 here"),
        ({"matmul_precision": "high"}, "matmul precision highest there, high here"),
        ({"torch": "2.7"}, "torch 2.6 there, 2.7 here"),
        ({"cuda": "12.4"}, "cuda unknown there, 12.4 here"),
    ],
)
def test_another_machine_or_session_is_refused_or_doubles_the_variance(facts, words):
    with pytest.raises(BadInput, match=words) as caught:
        check_device(small_profile(), elsewhere(**facts))
    assert str(caught.value).count("\n") == 0
    assert "intaglio energy profile" in str(caught.value)
    widened = check_device(small_profile(), elsewhere(**facts), "warn").widened(ESTIMATE)
    assert widened.sd**2 == pytest.approx(2 * ESTIMATE.sd**2)
    assert (widened.amount, widened.warnings[0]) == (10.0, "before")
    assert words in widened.warnings[1]


@pytest.mark.parametrize("facts", [{}, {"memory_gb": 32}, {"torch": "2.7"}, {"cores": 2}])
def test_another_unit_of_the_model_adds_five_percent(facts):
    match = check_device(small_profile(), elsewhere(**facts), "model-only")
    assert match.widened(ESTIMATE).sd == pytest.approx(math.sqrt(1.0 + 0.5**2))
    assert "5% further sd" in match.warnings[0]


@pytest.mark.parametrize("facts", [{"model": "Other"}, {"kind": "cuda"}, {"threads": 1}, {"matmul_precision": "high"}])
def test_another_model_or_mode_is_no_other_unit(facts):
    with pytest.raises(BadInput, match="another model or mode"):
        check_device(small_profile(), elsewhere(**facts), "model-only")


def test_a_profile_that_names_no_model_is_of_no_unit():
    with pytest.raises(BadInput, match="names no model"):
        check_device(replace(small_profile(), device={}, regime={}), Fingerprint({}, {}), "model-only")


def test_what_a_method_is_unsure_of_stays_so():
    unsure = replace(ESTIMATE, sd=math.inf)
    assert check_device(small_profile(), elsewhere(threads=1), "warn").widened(unsure).sd == math.inf


def test_this_machine_matches_itself_through_a_file(tmp_path):
    here = fingerprint("cpu")
    save_profile(replace(small_profile(), device=here.device, regime=here.regime), tmp_path / "a.safetensors")
    assert check_device(load_profile(tmp_path / "a.safetensors"), fingerprint("cpu")).differences == ()
    text = json.dumps([dict(here.device), dict(here.regime)])
    for name in (platform.node(), getpass.getuser()):
        assert f'"{name}"' not in text
    assert set(MODES) <= set(here.regime)
    assert here.regime["torch"] == ".".join(torch.__version__.split(".")[:2])


def test_threads_and_precisions_are_part_of_the_regime():
    before, precision = fingerprint().regime, torch.get_float32_matmul_precision()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        torch.set_float32_matmul_precision("medium")
        after = fingerprint().regime
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"threads", "matmul_precision"}


class NVML:
    """A driver that knows one accelerator by its UUID."""

    class NVMLError(Exception):
        pass

    def __init__(self, limit=350_400):
        self.limit = limit

    def nvmlSystemGetDriverVersion(self):  # noqa: N802
        return "550.54.14"

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        if uuid != "GPU-0a1b2c3d":
            raise self.NVMLError
        return 7

    def nvmlDeviceGetPowerManagementLimit(self, handle):  # noqa: N802
        if self.limit is None:
            raise self.NVMLError
        return self.limit


@pytest.mark.parametrize(("limit", "watts"), [(350_400, 350), (None, None)])
def test_an_accelerator_is_told_by_its_model_and_limits(monkeypatch, limit, watts):
    facts = SimpleNamespace(name="Board 9", total_memory=80 * 2**30 - 10**8, major=9, minor=0, uuid="0a1b2c3d")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: facts)
    found = fingerprint("cuda:1", NVML(limit)).device
    assert (found["model"], found["kind"], found["memory_gb"]) == ("Board 9", "cuda", 80)
    assert (found["compute_capability"], found["driver_major"], found["power_limit_w"]) == ("9.0", 550, watts)
    assert "0a1b2c3d" not in json.dumps(dict(found))


def test_a_device_that_torch_does_not_know_is_named():
    with pytest.raises(BadInput, match="torch does not know cuda:99"):
        fingerprint("cuda:99")
