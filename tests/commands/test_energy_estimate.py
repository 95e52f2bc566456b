"""`intaglio energy profile`, `energy estimate` and `energy compare` on a tiny model."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from intaglio.cli import main
from intaglio.commands.kit.energy_lines import flow_work, training_work
from intaglio.energy.devices.device import Measurement
from intaglio.energy.devices.torch_device import TorchDevice
from intaglio.energy.processes import family_process
from intaglio.energy.processes.matern_process import Hyper, MaternProcess
from intaglio.energy.profile.profile_file import load_profile, save_profile
from intaglio.energy.workloads import diffusion_steps, drawing_steps
from intaglio.models.diffusion.loading import load_model
from intaglio.models.flow.flow_folders import flow_names
from planted_profiles import plant, planted_profile

ONE_BLOCK = {
    "block_out_channels": (8,),
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
}
"""A denoiser whose layers are soon parsed."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a tiny model, and the profile of a machine on which every operation and byte costs the same."""
    folder = tmp_path_factory.mktemp("energy")
    model = load_model(tiny.sd_folder(folder / "model", unet_changes=ONE_BLOCK))
    steps = diffusion_steps(model, (1, 8))
    steps += [training_work(model, 1, batch, rank).whole for batch in (1, 8) for rank in (4, 64)]
    steps += [flow_work(flow_names()[0], 1, batch).whole for batch in (1, 8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        plant(steps, folder, networks=steps[:3])
    save_profile(planted_profile(steps, unit="CPU-s"), folder / "seconds.json")
    return folder


def test_a_busy_machine_is_profiled_only_on_request(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("intaglio.meters.foreign_load.foreign_load", lambda device: "others keep 2.00 cores busy")
    file = tiny.sd_folder(tmp_path / "model") / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({**load_file(file), "unread": torch.zeros(2)}, file)
    assert main(["energy", "profile", "--model", str(tmp_path / "model")]) == 2
    said = capsys.readouterr().err
    assert "others keep 2.00 cores busy, and would be measured too" in said
    assert "unet are not used (unread)" in said
    assert not (tmp_path / "runs").exists()


def test_a_profile_names_its_unit_and_no_owner(tmp_path, monkeypatch, capsys):
    def planted(device, layers):
        cost = 1e-9 * sum(layer.work for layer in layers)
        return Measurement(1e-6 + cost, (1e-3 * cost) ** 2, 1e-6 + cost, (1e-3 * cost) ** 2)

    def unfitted(points, values, variances, starts):
        return MaternProcess(points, values, variances, Hyper((0.5,) * points.shape[1]))

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TorchDevice, "measure", planted)
    monkeypatch.setattr(TorchDevice, "measure_step", lambda device, step: Measurement(1.0, 1e-6, 1.0, 1e-6))
    monkeypatch.setattr(family_process, "fitted", unfitted)
    monkeypatch.setattr("intaglio.meters.foreign_load.foreign_load", lambda device: "others keep 2.00 cores busy")
    monkeypatch.setattr("intaglio.commands.energy.profile.CALIBRATION", 3)
    monkeypatch.setattr("intaglio.commands.energy.profile.RANKS", (4,))
    words = [
        "--model",
        str(tiny.sd_folder(tmp_path / "model", unet_changes=ONE_BLOCK)),
        "--points",
        "3",
        "--batches",
        "1",
        "--precision",
        "float32",
        "bfloat16",
    ]
    assert main(["energy", "profile", *words, "--flow", flow_names()[0], "--busy", "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    profile = load_profile(tmp_path / ".local/share/intaglio/energy/cpu.safetensors")
    assert said["unit"] == profile.unit
    assert profile.unit in ("CPU-s", "J")
    assert len(profile.families) == said["families"] > 20
    assert len(profile.calibration) == 3 + 3, "small networks, and calls of the model itself"
    assert {found.family.dtype for found in profile.families} == {"float32", "bfloat16"}
    assert profile.notes[-1] == "measured although others keep 2.00 cores busy when it began"
    assert main(["energy", "estimate", "--model", str(tmp_path / "model"), "--batch", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["coverage"] > 0.99


def told(capsys, *words):
    capsys.readouterr()
    assert main(["energy", "estimate", *words, "--model", "model", "--json"]) == 0
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.fixture
def at_home(home, monkeypatch):
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)


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
    rates = ("--steps", "2", "--batch", "1", "--watts-per-cpu-second", "20", "--grams-per-kwh", "400")
    seconds = told(capsys, "--profile", "seconds.json", *rates)
    assert (seconds["unit"], seconds["joules"], seconds["grams_co2e"]) == ("CPU-s", None, None)
    assert seconds["joules_modelled"] == pytest.approx(20 * seconds["amount"])
    joules = told(capsys, *rates)
    assert (joules["unit"], joules["joules_modelled"]) == ("J", None)
    assert joules["grams_co2e"] == pytest.approx(400 * joules["joules"] / 3.6e6)


@pytest.mark.parametrize("method", ["flops-linear", "neural-power", "mean-power"])
def test_every_method_estimates_a_job(at_home, capsys, method):
    assert told(capsys, method, "--batch", "1", "--allow-low-coverage")["amount"] > 0


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
    assert main(["energy", "compare", *words, "--model", "model", "--json"]) == 0
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])["alternatives"]


def test_ways_to_do_a_job_stand_side_by_side_the_cheapest_first(at_home, capsys):
    found = compared(
        capsys, "--job", "finetune", "finetune-lora", "--batch", "1", "4", "--steps", "5", "--rank", "4", "64"
    )
    assert len(found) == 6, "a rank is no setting of a full training"
    amounts = [one["amount"] for one in found]
    assert amounts == sorted(amounts)
    drawn = compared(
        capsys, "--job", "sample", "--guidance", "1", "5", "--side", "8", "16", "--pictures", "2", "--batch", "2"
    )
    assert {(one["guidance"], one["side"]) for one in drawn} == {(1.0, 8), (1.0, 16), (5.0, 8), (5.0, 16)}
    assert (drawn[0]["guidance"], drawn[0]["side"]) == (1.0, 8)
    told = {(one["guidance"], one["side"]): one["amount"] for one in drawn}
    assert told[5.0, 16] == max(told.values())


def test_precisions_are_compared_and_those_without_measurements_shown_as_such(at_home, capsys):
    words = ("--job", "sample", "--precision", "bfloat16", "float32", "--batch", "2", "--pictures", "2", "--steps", "3")
    full, coarse = compared(capsys, *words)
    assert (full["precision"], full["covered"]) == ("float32", True)
    assert (coarse["precision"], coarse["covered"]) == ("bfloat16", False)
    assert "amount" not in coarse
    assert coarse["coverage"] < 0.5 < full["coverage"]
    assert main(["energy", "compare", *words, "--model", "model"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert "not covered" in rows[2]
    assert "bfloat16" in rows[2]
    assert main(["energy", "compare", "--job", "sample", "--model", "model", "--precision", "bfloat16"]) == 2
    assert "of this work is covered by the profile" in capsys.readouterr().err


def test_a_training_has_one_precision(at_home, capsys):
    words = ("--job", "finetune-lora", "--batch", "1", "--steps", "1", "--precision", "bfloat16", "float32")
    (one,) = compared(capsys, *words)
    assert one["precision"] == "float32"


def test_drawing_in_another_precision_is_of_families_of_its_own(home):
    model = load_model(home / "model")
    plain, coarse = drawing_steps(model, (1,)), drawing_steps(model.copy().to(dtype=torch.bfloat16), (1,))
    kinds = {layer.family.dtype for layer in coarse[0].layers if layer.family.of_kind.matrix}
    assert kinds == {"bfloat16"}
    assert {layer.family.dtype for layer in coarse[2].layers} == {"float32"}, "autoencoders stay in float32"
    pairs = zip(plain[0].layers, coarse[0].layers, strict=False)
    assert all(replace(one.family, dtype="") == replace(two.family, dtype="") for one, two in list(pairs)[:3])


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
