"""`intaglio energy prune`, end to end: a tiny model and the profile of a machine that costs what is planted."""

import json
import shutil

import pytest

import tiny
from intaglio.bench.models.random_models import random_pipelines
from intaglio.cli import main
from intaglio.energy.devices.device import Measurement
from intaglio.energy.devices.torch_device import TorchDevice
from intaglio.energy.layers.layer import Step
from intaglio.energy.profile.profile_file import save_profile
from intaglio.energy.pruning import width_costs
from intaglio.energy.pruning.width_costs import width_steps
from intaglio.energy.workloads import denoiser_step
from intaglio.images.image_set import save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.report import write_report
from planted_profile import planted_profile

SETTINGS = ("--batch", "2", "--least", "0.5", "--draws", "2", "--seed", "1", "--prompt", "a cat")
FAST = ("--recover", "3", "--samples", "1", "--learning-rate", "1e-3")


def cost(layer):
    return 1e-9 * layer.work


def work_of(step: Step) -> float:
    return sum(calls * cost(layer) for layer, calls in step.layers.items())


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A folder with a tiny model, six pictures and a profile of its layers; calls cost what is planted."""
    folder = tmp_path_factory.mktemp("prune")
    tiny.sd_folder(folder / "full", unet_changes={"attention_head_dim": 4})
    random_pipelines.folder_of("sd3", folder / "sd3")
    for place, pixels in enumerate(tiny.pixels(6)):
        save_png(pixels, folder / "pictures" / f"{place}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(width_costs, "LEVELS", 3)
        patch.setattr(TorchDevice, "measure_step", lambda device, step: Measurement(1.0, 1e-6, 1.0, 1e-6))
        found = width_steps(load_model(folder / "full"), 2, least=0.5)
        parts = [step for each in found.steps.values() for step in each]
        save_profile(planted_profile([found.whole({}), *parts, found.rest], cost), folder / "profile.safetensors")
        yield folder


def pruned(*words):
    given = ("--images", "pictures", "--model", "full", "--profile", "profile.safetensors", *SETTINGS, *words)
    return main(["energy", "prune", *given])


@pytest.fixture(scope="module")
def finished(scene):
    assert pruned("--budget", "75%", *FAST) == 0
    (folder,) = (scene / "runs").glob("energy-prune-*")
    return folder


def test_a_call_fits_the_budget_and_the_model_is_one_as_any_other(scene, finished):
    summary = json.loads((finished / "run.json").read_text())["summary"]
    model, full = load_model(finished / "model"), load_model(scene / "full")
    ratio = work_of(denoiser_step(model, 2)) / work_of(denoiser_step(full, 2))
    assert 0.5 < ratio <= 0.75
    assert summary["estimated"]["ratio"] == pytest.approx(ratio, abs=0.03)
    assert summary["measured"]["ratio"] == 1.0
    sizes = [sum(weight.numel() for weight in one.denoiser.parameters()) for one in (full, model)]
    assert list(summary["parameters"].values()) == sizes
    assert any(after < before for before, after in summary["widths"].values())
    assert (summary["pictures"], summary["error"]["pictures"]) == (5, 1)
    assert len(list((finished / "images" / "before").iterdir())) == 1
    assert not (finished / "states").exists() or not list((finished / "states").iterdir())


def test_it_is_found_again_and_gives_the_same_from_the_start(scene, finished, capsys):
    stamp = (finished / "model" / "unet" / "config.json").stat().st_mtime_ns
    assert pruned("--budget", "75%", *FAST) == 0
    assert (finished / "model" / "unet" / "config.json").stat().st_mtime_ns == stamp
    out, err = capsys.readouterr()
    assert out.strip().endswith("model")
    assert "held-out" in err
    assert pruned("--budget", "75%", *FAST, "--runs", "again") == 0
    (again,) = (scene / "again").glob("energy-prune-*")
    assert load_model(again / "model").fingerprint == load_model(finished / "model").fingerprint


def test_a_killed_run_goes_on_with_what_it_chose(scene, finished, monkeypatch):
    target = scene / "killed" / finished.name
    shutil.copytree(finished, target)
    header = json.loads((target / "run.json").read_text())
    (target / "run.json").write_text(json.dumps({**header, "status": "unfinished", "summary": {}, "results": []}))
    shutil.rmtree(target / "model")
    monkeypatch.setattr("intaglio.energy.pruning.importance.unit_importances", None)  # it is not asked for again
    assert pruned("--budget", "75%", *FAST, "--runs", "killed") == 0
    assert load_model(target / "model").fingerprint == load_model(finished / "model").fingerprint


def test_the_report_shows_widths_costs_errors_and_pictures(finished):
    page = write_report(finished).read_text()
    assert "A call at 100%" in page
    assert "mid_block.resnets.0" in page
    assert "trained after that" in page
    assert page.count('loading="lazy"') == 2
    assert page.count("<rect") >= 2 * 8


def test_a_training_call_and_no_recovery(scene):
    found = width_steps(load_model(scene / "full"), 2, least=0.5, train=True)
    parts = [step for each in found.steps.values() for step in each]
    save_profile(planted_profile([found.whole({}), *parts, found.rest], cost), scene / "training.safetensors")
    words = ("--budget", "80%", "--job", "finetune", "--recover", "0", "--samples", "0", "--runs", "trained")
    assert pruned(*words, "--profile", "training.safetensors", "--by", "flops") == 0
    (folder,) = (scene / "trained").glob("energy-prune-*")
    summary = json.loads((folder / "run.json").read_text())["summary"]
    assert summary["error"]["recovered"] is None
    assert summary["estimated"]["after"]["interval_95"][1] <= 0.8 * summary["estimated"]["before"]["interval_95"][1]
    assert not (folder / "images").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--budget", "half"], "has no unit"),
        (["--budget", "0.1 J"], "the profile counts CPU-s"),
        (["--budget", "1%"], "with every width at its least a call still takes"),
        (["--budget", "50%", "--least", "0"], "least must be above 0"),
        (["--budget", "50%", "--batch", "0"], "batch must be at least 1"),
        (["--budget", "50%", "--recover", "0", "--learning-rate", "1"], "learning_rate is of the recovery"),
        (["--budget", "50%", "--learning-rate", "-1"], "learning_rate"),
        (["--budget", "50%", "--profile", "missing.safetensors"], "missing.safetensors"),
        (["--budget", "50%", "--images", "pictures/0.png"], "two different ones"),
        (["--budget", "50%", "--model", "sd3"], "sd3 has no U-Net, and only their layers are made narrower"),
    ],
)
def test_bad_input_is_told(scene, capsys, words, sentence):
    assert pruned(*words, "--runs", "bad") == 2
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_without_a_profile_there_is_no_budget(scene, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(scene))
    assert main(["energy", "prune", "--images", "pictures", "--budget", "50%", "--prompt", "a cat"]) == 2
    assert "make one with intaglio energy profile" in " ".join(capsys.readouterr().err.split())
