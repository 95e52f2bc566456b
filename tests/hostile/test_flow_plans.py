"""Plans of `flow sample auto` that no calibration wrote, and runs whose plan changes."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import tiny
from intaglio import cli
from intaglio.errors import BadInput, IntaglioError
from intaglio.flow import decoding
from intaglio.flow.block.guidance import UNGUIDED
from intaglio.flow.calibrate import calibration
from intaglio.flow.calibrate.calibration import calibrate
from intaglio.flow.plan.decoder_plan import Choice, DecoderPlan, file_name, key_of, loosest
from intaglio.flow.plan.guess import LocalGuess, radius_for
from intaglio.models.flow.tarflow_files import load_flow, save_flow
from intaglio.runs.tensors import write_state

NAN, INFINITE = float("nan"), float("inf")
BLOCKS = 3
SOUND = Choice("jacobi", 1e-4, cap=4, seconds=0.01, error=1e-5)


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_flow(tiny.flow(double=False), tmp_path / "m")
    return load_flow(tmp_path / "m").model


@pytest.fixture
def key(model):
    return key_of(model, 2, UNGUIDED, "near")


PLANS = Path("runs/flow-plans")
SAMPLE = ["--quiet", "flow", "sample", "--model", "m", "--count", "4", "--batch", "2"]


def plan(key, **changes) -> DecoderPlan:
    whole = DecoderPlan(key, (SOUND,) * BLOCKS, seconds=0.04, sequential_seconds=0.05, largest=1e-3, gains=(1.2, 1.3))
    return dataclasses.replace(whole, **changes)


def found(key, model) -> DecoderPlan | None:
    return DecoderPlan.find(PLANS, key, model.config)


def test_a_sound_plan_is_read(key, model):
    grid, width = model.config.grid, model.config.token_width
    means, features = torch.zeros(model.config.tokens, width), (2 * radius_for(width) + 1) ** 2 * width
    guesses = {0: LocalGuess(means, means, torch.zeros(features, width), grid)}
    choices = (dataclasses.replace(SOUND, guess="fitted"), Choice("frontier", 0.1, 4, 1), Choice("sequential"))
    plan(key, choices=choices, guesses=guesses).save(PLANS)
    assert found(key, model).choices == choices
    assert found(key, model).guesses[0].grid == grid
    assert cli.main(SAMPLE) == 0


CHOICES = {
    "method": {"method": "magic"},
    "tolerance 1e9": {"tolerance": 1e9},
    "tolerance above the tier": {"tolerance": 1.01 * loosest("near")},
    "tolerance below 0": {"tolerance": -1.0},
    "tolerance NaN": {"tolerance": NAN},
    "tolerance a text": {"tolerance": "x"},
    "window below 0": {"window": -5},
    "window a text": {"window": "8"},
    "coarse sweeps": {"coarse_sweeps": 10**9},
    "cap below 0": {"cap": -1},
    "cap a fraction": {"cap": 2.5},
    "guess": {"guess": "best"},
    "guess without a fit": {"guess": "fitted"},
    "seconds": {"seconds": "x"},
    "error": {"error": [1]},
}
WHOLE = {
    "too few choices": {"choices": [dataclasses.asdict(SOUND)]},
    "too many choices": {"choices": [dataclasses.asdict(SOUND)] * 6},
    "seconds": {"seconds": "x"},
    "infinite seconds": {"sequential_seconds": INFINITE},
    "gains": {"gains": ("x",)},
    "largest beyond the tier": {"largest": 0.1},
    "mean beyond the tier": {"mean": 0.01},
    "format": {"format": 2},
    "choices a number": {"choices": 5},
    "choices numbers": {"choices": [5] * BLOCKS},
    "choice without a method": {"choices": [{"tolerance": 0.1}] * BLOCKS},
    "fitted a list": {"fitted": [1]},
    "fitted without tensors": {"fitted": {"0": [2, 2]}},
    "fitted no block": {"fitted": {"x": [2, 2]}},
    "fitted a text": {"fitted": {"0": "x"}},
    "no seconds": {"seconds": None},
    "key a text": {"key": "x"},
}


def check_refused(key, model, capsys) -> None:
    with pytest.raises(IntaglioError, match=file_name(key)):
        found(key, model)
    capsys.readouterr()
    assert cli.main(SAMPLE) != 0
    err = capsys.readouterr().err
    assert file_name(key) in err
    assert "fault of intaglio" not in err
    assert "delete" in err or "flow calibrate" in err
    assert [path.name for path in Path("runs").iterdir()] == ["flow-plans"]


def write(key, /, **changes) -> None:
    rest = {"choices": [dataclasses.asdict(SOUND)] * BLOCKS, "fitted": {}, "largest": 0, "mean": 0, "gains": []}
    about = {"format": 1, "key": key, "seconds": 1.0, "sequential_seconds": 1.0, **rest}
    PLANS.mkdir(parents=True)
    write_state(PLANS / file_name(key), {"none": torch.zeros(1)}, about | changes)


def test_a_plan_written_by_hand_as_calibration_does_is_read(key, model):
    write(key)
    assert found(key, model).choices == (SOUND,) * BLOCKS


@pytest.mark.parametrize("changes", CHOICES.values(), ids=CHOICES)
def test_a_choice_that_no_calibration_made_is_refused(key, model, capsys, changes):
    write(key, choices=[dataclasses.asdict(SOUND) | changes] * BLOCKS)
    check_refused(key, model, capsys)


@pytest.mark.parametrize("changes", WHOLE.values(), ids=WHOLE)
def test_a_plan_that_no_calibration_made_is_refused(key, model, capsys, changes):
    write(key, **changes)
    check_refused(key, model, capsys)


@pytest.mark.parametrize("spoil", ["grid", "means", "weights", "NaN"])
def test_a_fitted_guess_for_another_model_is_refused(key, model, capsys, spoil):
    grid, width = model.config.grid, model.config.token_width
    means, features = torch.zeros(model.config.tokens, width), (2 * radius_for(width) + 1) ** 2 * width
    guess = LocalGuess(means, means, torch.zeros(features, width), grid)
    bad = {
        "grid": {"grid": (grid[0], grid[1] + 1)},
        "means": {"mean_v": means[1:], "mean_u": means[1:]},
        "weights": {"weights": torch.zeros(features + 1, width)},
        "NaN": {"mean_u": torch.full_like(means, NAN)},
    }[spoil]
    choices = (dataclasses.replace(SOUND, guess="fitted"), SOUND, SOUND)
    plan(key, choices=choices, guesses={0: dataclasses.replace(guess, **bad)}).save(PLANS)
    check_refused(key, model, capsys)


@pytest.mark.parametrize("changes", [{"model": "0" * 64}, {"tier": "exact"}, {"batch": 64}, {"more": 1}])
def test_a_plan_under_the_name_of_another_is_refused(key, model, capsys, changes):
    plan({**key, **changes}).save(PLANS).rename(PLANS / file_name(key))
    check_refused(key, model, capsys)
    with pytest.raises(BadInput, match="for other conditions than its name says"):
        found(key, model)


def test_calibration_keeps_tolerances_that_are_read(model, monkeypatch):
    for name, value in {"FITTED": 4, "JUDGED": 2, "PROVED": 2, "TURNS": 1, "GAIN": 0.0}.items():
        monkeypatch.setattr(calibration, name, value)
    loose = [Choice("sequential", seconds=1.0), Choice("jacobi", INFINITE, cap=1, seconds=0.1)]
    monkeypatch.setattr(calibration, "options", lambda block, allowed: loose)
    given = []

    def proved(empty, blocks, choices, judged, proof):
        given.extend(choices)
        return empty

    monkeypatch.setattr(calibration, "_proved", proved)
    calibrate(model, batch=2)
    assert [[choice.tolerance for choice in choices] for choices in given] == [[0.0, loosest("near")]] * BLOCKS


def folders() -> set[Path]:
    return {path for path in Path("runs").iterdir() if path.name.startswith("flow-sample")}


def test_pictures_by_another_plan_are_another_run(key, model):
    assert cli.main(SAMPLE) == 0
    (without,) = folders()
    assert json.loads((without / "run.json").read_text())["inputs"]["plan"]["sha256"] == "none"
    plan(key).save(PLANS)
    assert cli.main(SAMPLE) == 0
    assert len(folders()) == 2
    assert cli.main(SAMPLE) == 0
    assert len(folders()) == 2
    plan(key, choices=(Choice("sequential"),) * BLOCKS).save(PLANS)
    assert cli.main(SAMPLE) == 0
    assert len(folders()) == 3


def test_a_killed_run_takes_up_no_batch_of_another_plan(key, model, monkeypatch):
    plan(key, choices=(Choice("sequential"),) * BLOCKS).save(PLANS)
    batch, starts = decoding._finite_batch, []

    def dying(decoder, part, start, redraw):
        starts.append(start)
        if len(starts) == 2:
            raise KeyboardInterrupt
        return batch(decoder, part, start, redraw)

    monkeypatch.setattr(decoding, "_finite_batch", dying)
    assert cli.main(SAMPLE) != 0
    plan(key).save(PLANS)
    assert cli.main(SAMPLE) == 0
    assert starts == [0, 2, 0, 2]
    assert len(folders()) == 2
