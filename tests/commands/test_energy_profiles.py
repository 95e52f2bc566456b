"""`energy show` and `energy merge`, on profiles of the simulated device."""

import json
from dataclasses import replace

import pytest

from energy_profiles import small_profile
from intaglio import cli
from intaglio.energy.methods.thor import Thor
from intaglio.energy.processes.family_process import family_process
from intaglio.energy.profile.profile_file import load_profile, save_profile


@pytest.fixture
def command(capsys):
    def run(*words):
        code = cli.main(["energy", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def profiles(tmp_path):
    save_profile(small_profile(), tmp_path / "one.safetensors")
    save_profile(small_profile(seed=5), tmp_path / "two.json")
    return tmp_path / "one.safetensors", tmp_path / "two.json"


def test_a_profile_is_shown_with_its_machine_bounds_and_errors(command, profiles):
    code, out, _ = command("show", profiles[0])
    lines = out.splitlines()
    assert code == 0
    assert "device      model Simulator, kind cpu, cores 8, memory gb 16" in lines
    assert "regime      torch 2.6, system Linux, threads 4, matmul precision highest" in lines
    (linear,) = [line for line in lines if line.startswith("linear, positions 32, train input+weight, float32")]
    assert "c_in 8 to 256, c_out 10" in linear
    assert linear.endswith("as many points as the rules allow")


def test_figures_are_those_of_the_points(command, profiles):
    code, out, _ = command("show", profiles[0], "--json")
    found, profile = json.loads(out), small_profile()
    (linear, step) = found["families"]
    family = profile.families[0]
    errors = family_process(family.points, family.low, family.high).left_out_errors
    assert code == 0
    assert (linear["points"], linear["low"], linear["high"]) == (
        6,
        {"c_in": 8, "c_out": 10},
        {"c_in": 256, "c_out": 10},
    )
    assert linear["error"] == pytest.approx(errors.mean())
    assert (linear["least"], linear["most"]) == (min(family.amounts), max(family.amounts))
    assert step["error"] is None, "a single point has no others to be predicted from"
    network = profile.calibration[0]
    summed = Thor()(replace(profile, calibration=()))(network.step).amount
    assert found["networks"] == {"1: net": pytest.approx(network.amount / summed)}


@pytest.mark.parametrize(
    ("kink", "additive", "words"), [(-0.3, False, "-30.0% (not additive)"), (0.02, True, "+2.0% ")]
)
def test_a_kink_is_shown_with_its_verdict(command, tmp_path, kink, additive, words):
    first, *rest = small_profile().families
    kinked = (replace(first, kink=kink, additive=additive), *rest)
    save_profile(replace(small_profile(), families=kinked), tmp_path / "a.json")
    assert words in command("show", tmp_path / "a.json")[1]


def test_a_profile_without_networks_says_so(command, tmp_path):
    save_profile(replace(small_profile(), calibration=(), device={}, families=()), tmp_path / "a.json")
    out = command("show", tmp_path / "a.json")[1]
    assert "none was measured, so that sums of layers are not checked" in out
    assert "device      not known" in out


def test_the_reference_and_the_isolation_are_shown(command, tmp_path):
    meter = {"name": "simulator", "isolation": "subtraction", "reference_history": [1.0, 1.0123, 0.98765]}
    save_profile(replace(small_profile(), meter=meter), tmp_path / "a.json")
    lines = command("show", tmp_path / "a.json")[1].splitlines()
    assert "meter       name simulator, isolation subtraction" in lines
    assert "reference   3 windows, 0.988 to 1.012 times the cost of the first" in lines


@pytest.mark.parametrize("history", ["much", ["a"], [True]])
def test_a_history_that_is_no_numbers_is_refused(command, tmp_path, history):
    document = small_profile()
    with pytest.raises(ValueError, match="reference_history"):
        save_profile(replace(document, meter={**document.meter, "reference_history": history}), tmp_path / "a.json")


def test_profiles_of_two_isolations_are_not_merged(command, profiles, tmp_path):
    meter = {**small_profile().meter, "isolation": "alone"}
    save_profile(replace(small_profile(), meter=meter), tmp_path / "three.json")
    code, _, err = command("merge", profiles[0], tmp_path / "three.json", "--out", tmp_path / "c.json")
    assert code == 2
    assert "layers isolated by slope and by alone" in err


def test_texts_of_a_stranger_are_spelt_out(command, tmp_path):
    save_profile(replace(small_profile(), notes=("a\x1b[31mb",)), tmp_path / "a.json")
    assert r"a\x1b[31mb" in command("show", tmp_path / "a.json")[1]


def test_profiles_are_merged_into_a_file(command, profiles, tmp_path):
    code, out, _ = command("merge", *profiles, "--out", tmp_path / "c.safetensors")
    assert code == 0
    assert "two.json: divided by 1.00" in out
    merged = load_profile(tmp_path / "c.safetensors")
    each = [set(map(tuple, load_profile(path).families[0].sizes.tolist())) for path in profiles]
    assert set(map(tuple, merged.families[0].sizes.tolist())) == set.union(*each)
    code, _, err = command("merge", *profiles, "--out", tmp_path / "c.safetensors")
    assert code == 2
    assert "c.safetensors exists; give another file to --out, or --overwrite" in err
    assert command("merge", *profiles, "--out", tmp_path / "c.safetensors", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "gone.json"], "gone.json"),
        (["show", "a.pkl"], "is no profile of energy by its name"),
        (["merge", "one.json", "--out", "c.json"], "two profiles or more"),
        (["merge", "one.json", "two.json", "--out", "c.txt"], "c.txt is no profile of energy by its name"),
    ],
)
def test_bad_input_is_named(command, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    for name in ("a.pkl", "one.json", "two.json"):
        (tmp_path / name).touch()
    code, _, err = command(*words)
    assert code == 2
    assert said in err


def test_profiles_of_two_machines_are_not_merged(command, profiles, tmp_path):
    save_profile(replace(small_profile(), device={"model": "Other"}), tmp_path / "three.json")
    code, _, err = command("merge", profiles[0], tmp_path / "three.json", "--out", tmp_path / "c.json")
    assert code == 2
    assert "profile 2 cannot be merged with those before it: another machine" in err
    assert not (tmp_path / "c.json").exists()
