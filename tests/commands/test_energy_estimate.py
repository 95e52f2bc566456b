"""`intaglio energy profile` and `energy estimate`, end to end on the embedded model with few points."""

import json

import pytest

from intaglio.cli import main
from intaglio.energy.devices.device import Measurement
from intaglio.energy.devices.torch_device import TorchDevice
from intaglio.energy.processes import family_process
from intaglio.energy.processes.matern_process import fitted
from intaglio.energy.profile.profile_file import load_profile
from intaglio.models.flow.shipped import flow_names


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the profile of a machine on which every layer costs a nanosecond an operation or byte."""
    folder = tmp_path_factory.mktemp("energy")

    def planted(device, layers):
        cost = 1e-9 * sum(layer.work for layer in layers)
        return Measurement(1e-6 + cost, (1e-3 * cost) ** 2, 1e-6 + cost, (1e-3 * cost) ** 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setattr(TorchDevice, "measure", planted)
        patch.setattr(TorchDevice, "measure_step", lambda device, step: Measurement(1.0, 1e-6, 1.0, 1e-6))
        patch.setattr(family_process, "fitted", lambda *given: fitted(*given[:3], starts=1))
        patch.setattr("intaglio.commands.energy.profile.CALIBRATION", 3)
        patch.setattr("intaglio.commands.energy.profile.RANKS", (4,))
        patch.chdir(folder)
        assert (
            main(
                [
                    "energy",
                    "profile",
                    "--points",
                    "4",
                    "--batches",
                    "1",
                    "4",
                    "--flow",
                    flow_names()[0],
                    "--json",
                    "--quiet",
                ]
            )
            == 0
        )
    return folder


def told(capsys, *words):
    capsys.readouterr()
    assert main(["energy", "estimate", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.fixture
def at_home(home, monkeypatch):
    monkeypatch.setenv("HOME", str(home))
    return home


def test_the_profile_names_its_unit_and_no_owner(at_home):
    profile = load_profile(at_home / ".local/share/intaglio/energy/cpu.safetensors")
    assert profile.unit in ("CPU-s", "J")
    assert len(profile.families) > 20
    assert profile.calibration


def test_jobs_scale_with_pictures_steps_and_guidance(at_home, capsys):
    one = told(capsys, "--pictures", "1", "--steps", "10")
    more = told(capsys, "--pictures", "4", "--steps", "10")
    plain = told(capsys, "--pictures", "1", "--steps", "10", "--guidance", "1")
    assert one["coverage"] > 0.99
    assert more["parts"]["denoiser"] == pytest.approx(4 * one["parts"]["denoiser"], rel=0.3)
    assert plain["parts"]["denoiser"] < 0.7 * one["parts"]["denoiser"]
    low, high = one["interval_95"]
    assert low < one["amount"] < high


def test_a_lora_costs_less_than_all_weights(at_home, capsys):
    lora, full = (told(capsys, "--job", job, "--steps", "10", "--batch", "4") for job in ("finetune-lora", "finetune"))
    assert lora["coverage"] > 0.95
    assert lora["amount"] < full["amount"]
    assert lora["parts"]["updates"] < full["parts"]["updates"] / 5


def test_a_flow_in_training_is_estimated(at_home, capsys):
    one, two = (told(capsys, "--job", "flow-train", "--steps", steps, "--batch", "4") for steps in ("5", "10"))
    assert one["coverage"] > 0.95
    assert two["amount"] == pytest.approx(2 * one["amount"], rel=0.05)


def test_rates_and_stated_watts(at_home, capsys):
    found = told(capsys, "--watts-per-cpu-second", "20", "--grams-per-kwh", "400")
    if found["unit"] == "CPU-s":
        assert found["joules"] is None
        assert found["grams_co2e"] is None
        assert found["joules_modelled"] == pytest.approx(20 * found["amount"])


@pytest.mark.parametrize("method", ["flops-linear", "neural-power", "mean-power"])
def test_every_method_estimates_a_job(at_home, capsys, method):
    assert told(capsys, method, "--allow-low-coverage")["amount"] > 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--profile", "missing.safetensors"], "missing.safetensors"),
        (["--price", "0.3"], "price_per_kwh and currency go together"),
        (["--pue", "0.5"], "pue must be at least 1"),
        (["--battery", "0", "5"], "volts must be"),
        (["--steps", "0"], "steps must be at least 1"),
        (["--device", "cuda"], "cuda"),
    ],
)
def test_bad_input_is_told(at_home, capsys, words, sentence):
    assert main(["energy", "estimate", *words]) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert sentence in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--batches", "0"], "batches must be numbers of 1 or more"),
        (["--window", "0"], "window must be above 0"),
        (["--points", "2"], "points must be 3 or more"),
        (["--out", "profile.pt"], "must end in .safetensors or .json"),
    ],
)
def test_bad_settings_of_a_profile_are_told(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(["energy", "profile", *words]) == 2
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())


def compared(capsys, *words):
    capsys.readouterr()
    assert main(["energy", "compare", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])["alternatives"]


def test_ways_to_do_a_job_stand_side_by_side_the_cheapest_first(at_home, capsys):
    found = compared(
        capsys, "--job", "finetune", "finetune-lora", "--batch", "1", "4", "--steps", "5", "--rank", "4", "64"
    )
    assert len(found) == 6, "a rank is no setting of a full training"
    amounts = [one["amount"] for one in found]
    assert amounts == sorted(amounts)
    drawn = compared(capsys, "--job", "sample", "--guidance", "1", "5", "--side", "32", "64", "--pictures", "2")
    assert {(one["guidance"], one["side"]) for one in drawn} == {(1.0, 32), (1.0, 64), (5.0, 32), (5.0, 64)}
    assert (drawn[0]["guidance"], drawn[0]["side"]) == (1.0, 32)
    told = {(one["guidance"], one["side"]): one["amount"] for one in drawn}
    assert told[5.0, 64] == max(told.values())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--batch", "0"], "batch must be numbers of at least 1"),
        (["--steps", *map(str, range(1, 250))], "make 996 combinations"),
        (["--job", "paint"], "paint"),
    ],
)
def test_bad_comparisons_are_told(at_home, capsys, words, sentence):
    assert main(["energy", "compare", *words]) == 2
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())
