"""A fine-tune within a budget of energy, on a planted meter."""

import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
from safetensors.torch import load_file

import tiny
from adapt_scenes import same
from energy_profiles import small_profile
from intaglio import cli
from intaglio.commands.kit import energy_lines
from intaglio.energy import energy_budget
from intaglio.energy.profile.profile_file import save_profile
from intaglio.energy.step_estimate import StepEstimate
from intaglio.images.image_set import save_png
from intaglio.meters import spending
from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.machine_meters import FoundMeters
from intaglio.meters.meter import Availability, MeterFailed, MeterReading
from intaglio.runs.run import Run

ABSENT = (("rapl", Availability("no-permission", "root only")),)
NONE = FoundMeters((), ABSENT)
STEP_J = 10.0


class Steps:
    """A meter that gives so many joules for every step that the training logged."""

    name, slow, devices, tick_s = "planted", False, (), None

    def __init__(self):
        self.joules = 1000.0

    def available(self):
        return Availability("ok")

    def domains(self):
        return {"gpu:0": Domain("gpu:0", Scope.GPU_BOARD, Provenance.COUNTER, self.name)}

    def read(self):
        if isinstance(self.joules, Exception):
            raise self.joules
        return MeterReading(0.0, {"gpu:0": self.joules})

    def close(self):
        pass


@pytest.fixture
def meter(monkeypatch):
    meter, whole = Steps(), Run.log

    def log(self, stream, step, **numbers):
        if stream == "train" and not isinstance(meter.joules, Exception):
            meter.joules += STEP_J
        whole(self, stream, step, **numbers)

    monkeypatch.setattr(Run, "log", log)
    monkeypatch.setattr(spending, "meters_for", lambda device: FoundMeters((meter,), ABSENT))
    return meter


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # this machine may have a profile of its own
    base = tiny.sd_folder(tmp_path / "base")
    for index, picture in enumerate(tiny.pixels(2)):
        save_png(picture, tmp_path / "dog" / f"{index}.png")

    def run(*words, steps=9):
        places = ["--model", str(base), "--images", str(tmp_path / "dog"), "--runs", str(tmp_path / "runs")]
        few = ["--prompt", "dog", "--rank", "2", "--steps", str(steps), "--sample-count", "0", "--watch-every", "0"]
        code = cli.main(["finetune", "lora", *places, *few, "--quiet", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def record(tmp_path):
    (folder,) = (tmp_path / "runs").glob("finetune-*")
    return folder, json.loads((folder / "run.json").read_text())


def weights(tmp_path):
    return load_file(record(tmp_path)[0] / "pytorch_lora_weights.safetensors")


def test_a_budget_ends_the_training_and_the_result_is_that_of_a_shorter_one(command, meter, tmp_path):
    """Steps of 10 J, one of them kept for saving: 55 J hold four and not five."""
    code, out, _ = command("--energy-budget", "55 J")
    folder, found = record(tmp_path)
    assert (code, out, found["status"]) == (0, f"{folder / 'pytorch_lora_weights.safetensors'}\n", "done")
    assert found["summary"]["steps"] == 4
    assert found["summary"]["energy_budget"] == {"joules": 55.0, "used": 40.0, "by": "measured", "stopped": True}
    ended = [words for words in found["warnings"] if "ended the training after step 4 of 9" in words]
    assert ended == [
        "the energy budget of 55 J ended the training after step 4 of 9: 40 J measured, and 10 J kept for what "
        "follows; the result is that of a shorter training"
    ]
    assert any(
        "the energy budget counts gpu:0 (measured); not counted: rapl: root only" in w for w in found["warnings"]
    )
    shorter = weights(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    command(steps=4)
    assert same(shorter, weights(tmp_path))


def test_a_budget_that_is_not_reached_changes_nothing(command, meter, tmp_path):
    command("--energy-budget", "1 kWh", steps=3)
    _, found = record(tmp_path)
    assert (found["summary"]["steps"], found["summary"]["energy_budget"]["stopped"]) == (3, False)
    assert found["settings"]["energy_budget_joules"] == 3.6e6


def test_an_interrupted_training_goes_on_and_ends_where_it_would_have(command, meter, tmp_path, monkeypatch):
    whole = Run.log

    def interrupting(self, stream, step, **numbers):
        if stream == "energy" and step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        whole(self, stream, step, **numbers)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", interrupting)
        assert command("--energy-budget", "55 J")[0] == 130
    meter.joules = 5.0  # the counter of a machine that was started again
    assert command("--energy-budget", "55 J")[0] == 0
    folder, found = record(tmp_path)
    assert (found["summary"]["steps"], found["summary"]["energy_budget"]["used"]) == (4, 40.0)
    rows = [json.loads(row) for row in (folder / "metrics" / "energy.jsonl").read_text().splitlines()]
    assert rows == [
        {"step": k, "used_joules": k * STEP_J, **({} if k in (1, 3) else {"step_joules": STEP_J})} for k in (1, 2, 3, 4)
    ], "the first step of each process warms up"
    before = weights(tmp_path)
    assert command("--energy-budget", "55 J")[0] == 0
    assert same(before, weights(tmp_path))


@pytest.fixture
def estimated(monkeypatch, tmp_path):
    """A profile in joules, by which every step is said to take so many; what was asked for is kept."""
    asked = []

    def planted(joules):
        def predict(step):
            asked.append(step)
            return StepEstimate(joules, 0.1, 1.0, "J", "measured-counter")

        monkeypatch.setattr(energy_lines, "predictor_of", lambda found, method=None: predict)
        save_profile(small_profile(), tmp_path / "profile.json")
        return ["--energy-profile", str(tmp_path / "profile.json")], asked

    return planted


def test_without_a_meter_steps_are_counted_by_a_profile(command, monkeypatch, tmp_path, estimated):
    monkeypatch.setattr(spending, "meters_for", lambda device: NONE)
    words, asked = estimated(10.0)
    assert command("--energy-budget", "55 J", *words)[0] == 0
    _, found = record(tmp_path)
    assert found["summary"]["energy_budget"] == {"joules": 55.0, "used": 40.0, "by": "estimated", "stopped": True}
    assert "the energy budget counts steps by a profile's estimate, for no meter can be read" in found["warnings"]
    assert any("40 J estimated" in words for words in found["warnings"])
    assert any(layer.family.train for layer in asked[0].layers)
    shorter = weights(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    command(steps=4)
    assert same(shorter, weights(tmp_path)), "the estimate left the model as it found it"


def test_a_profile_that_covers_little_is_no_meter(command, monkeypatch, tmp_path):
    monkeypatch.setattr(spending, "meters_for", lambda device: NONE)
    save_profile(small_profile(), tmp_path / "profile.json")
    code, _, err = command("--energy-budget", "55 J", "--energy-profile", str(tmp_path / "profile.json"))
    assert code == 2
    assert "of this work is covered by the profile" in err
    save_profile(replace(small_profile(), unit="CPU-s"), tmp_path / "profile.json")
    code, _, err = command("--energy-budget", "55 J", "--energy-profile", str(tmp_path / "profile.json"))
    assert code == 2
    assert "no meter here gives joules (rapl: root only)" in err
    assert "or --energy-profile with a profile in joules" in err


@pytest.mark.parametrize(("joules", "warned"), [(5.0, True), (9.0, False)])
def test_a_meter_that_drifts_from_the_profile_is_told_of(
    command, meter, monkeypatch, tmp_path, estimated, joules, warned
):
    monkeypatch.setattr(energy_budget, "WINDOW", 3)
    words, _ = estimated(joules)
    command("--energy-budget", "1 kWh", *words, steps=6)
    found = [one for one in record(tmp_path)[1]["warnings"] if "times the estimated energy" in one]
    assert [one[:62] for one in found] == ["the last 3 steps until step 4 took 2.00 times the estimated en"] * warned


@pytest.mark.parametrize(("unit", "watts", "used"), [("J", "10", False), ("CPU-s", "10", True), ("CPU-s", None, False)])
def test_a_profile_of_another_unit_is_no_estimate(command, meter, monkeypatch, tmp_path, estimated, unit, watts, used):
    """Joules by stated watts are not compared with measured ones, nor a meter's with processor seconds."""
    profile, asked = estimated(1e-6)
    save_profile(replace(small_profile(), unit=unit), tmp_path / "profile.json")
    if watts is not None:
        monkeypatch.setattr(spending, "meters_for", lambda device: NONE)
    stated = [] if watts is None else ["--watts-per-cpu-second", watts]
    assert command("--energy-budget", "1 kWh", *profile, *stated, steps=1)[0] == 0
    assert bool(asked) is used


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        (["--batch", "4"], (4, 1)),
        (["--batch", "4", "--micro-batch", "3"], (3, 2)),
        (["--batch", "2", "--class-prompt", "dog", "--class-count", "1", "--micro-batch", "2"], (2, 2)),
    ],
)
def test_the_step_that_is_estimated_is_that_of_the_training(command, meter, monkeypatch, estimated, words, passes):
    profile, _ = estimated(10.0)
    asked, whole = [], energy_lines.tuning_work

    def noted(model, method, updates, batch, accumulation):
        asked.append((batch, accumulation))
        return whole(model, method, updates, batch, accumulation)

    monkeypatch.setattr(energy_lines, "tuning_work", noted)
    assert command("--energy-budget", "1 kWh", *profile, *words, steps=1)[0] == 0
    assert asked == [passes]


@pytest.mark.parametrize("last", [3, 4])
def test_energy_of_steps_that_a_killed_process_lost_was_spent(command, meter, tmp_path, monkeypatch, last):
    """Killed in its third step with no state saved: 30 J are gone, and 55 J hold one step more; in its fourth, none."""

    class Killed(BaseException):
        pass

    whole = Run.log

    def killing(self, stream, step, **numbers):
        whole(self, stream, step, **numbers)
        if stream == "energy" and step == last:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", killing)
        with pytest.raises(Killed):
            command("--energy-budget", "55 J", "--checkpoint-every-s", "1000")
    code, _, err = command("--energy-budget", "55 J")
    folder, found = record(tmp_path)
    if last == 4:
        assert (code, found["status"]) == (1, "failed")
        assert "was spent by parts of this run that were killed before a state was saved" in err
        return
    assert code == 0
    assert (found["summary"]["steps"], found["summary"]["energy_budget"]["used"]) == (1, 40.0)
    rows = [json.loads(row) for row in (folder / "metrics" / "energy.jsonl").read_text().splitlines()]
    assert [(row["step"], row["used_joules"]) for row in rows] == [(1, 10.0), (2, 20.0), (3, 30.0), (1, 40.0)]


def test_without_a_meter_it_is_refused_unless_watts_are_stated(command, monkeypatch, tmp_path):
    monkeypatch.setattr(spending, "meters_for", lambda device: NONE)
    code, _, err = command("--energy-budget", "1 kJ")
    assert code == 2
    assert "no meter here gives joules (rapl: root only); give --watts-per-cpu-second" in err
    assert not (tmp_path / "runs").exists()
    assert command("--energy-budget", "1 kWh", "--watts-per-cpu-second", "10", steps=1)[0] == 0
    _, found = record(tmp_path)
    assert found["summary"]["energy_budget"]["by"] == "modelled"
    assert found["summary"]["energy_budget"]["used"] > 0


def test_a_budget_that_holds_no_step_is_an_error(command, monkeypatch, tmp_path):
    monkeypatch.setattr(spending, "meters_for", lambda device: NONE)
    code, _, err = command("--energy-budget", "0.1 J", "--watts-per-cpu-second", "1000")
    assert code == 1
    assert "the energy budget of 0.1 J holds no step" in err
    assert record(tmp_path)[1]["status"] == "failed"


def test_a_budget_of_carbon_is_one_of_joules(command, meter, tmp_path):
    """50 g at 500 g a kWh with a PUE of 2 are 0.05 kWh."""
    command("--energy-budget", "50 g", "--grams-per-kwh", "500", "--pue", "2", steps=1)
    assert record(tmp_path)[1]["settings"]["energy_budget_joules"] == pytest.approx(0.05 * 3.6e6)


def test_a_meter_that_fails_ends_the_run_with_its_reason(command, meter, tmp_path, monkeypatch):
    whole = Run.log

    def failing(self, stream, step, **numbers):
        whole(self, stream, step, **numbers)
        if stream == "energy" and step == 2:
            meter.joules = MeterFailed("the driver is gone")

    monkeypatch.setattr(Run, "log", failing)
    code, _, err = command("--energy-budget", "55 J")
    assert code == 1
    assert "the driver is gone" in err
    assert record(tmp_path)[1]["status"] == "failed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--energy-budget", "5"], "'5' is no amount with a unit"),
        (["--energy-budget", "0 J"], "must be above 0"),
        (["--energy-budget", "10 %"], "a share of a battery, which is not known"),
        (["--energy-budget", "10 %", "--battery-health", "0.8"], "battery_health is of a battery"),
        (["--energy-budget", "10 %", "--battery", "0", "5"], "volts must be finite and above 0"),
        (["--energy-budget", "1 J", "--pue", "0.5"], "pue must be at least 1"),
        (["--watts-per-cpu-second", "10"], "--watts-per-cpu-second is of an energy budget"),
        (["--grams-per-kwh", "400"], "--grams-per-kwh is of an energy budget"),
        (["--energy-budget", "1 J", "--watts-per-cpu-second", "-1"], "watts_per_cpu_second must be a power"),
    ],
)
def test_bad_budgets_are_named_before_any_work(command, monkeypatch, tmp_path, words, said):
    monkeypatch.setattr(spending, "meters_for", lambda device: NONE)
    code, _, err = command(*words)
    assert (code, (tmp_path / "runs").exists()) == (2, False)
    assert said in err


def test_runs_without_a_budget_keep_their_names(command, tmp_path):
    command(steps=1)
    _, found = record(tmp_path)
    assert not {"energy_budget", "energy_budget_joules", "watts_per_cpu_second", "pue"} & set(found["settings"])
