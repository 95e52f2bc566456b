"""The shared tests of every method. A method joins all of them by its line in MATRIX."""

import dataclasses
import random
from typing import Any, NamedTuple

import pytest
import torch
from families import FAMILIES, Killed, breaking, opened, same, state_of

from intaglio.cli import main
from intaglio.commands.parsing import positionals
from intaglio.commands.settings import load, settings_of
from intaglio.methods import VERBS
from intaglio.runs.run import Run


class Row(NamedTuple):
    """What the shared tests need to know of a method."""

    settings: dict[str, Any]
    """Few steps, so that a call takes a second, but enough of them to be killed between two."""
    bad: dict[str, Any]
    """One setting that is refused."""
    micro: dict[str, Any]
    """Settings that cut the work into smaller pieces and leave the result as it is, up to rounding; none where every
    piece sees a draw of its own."""


DRAWING = {"generations": 12, "pictures": 3, "steps": 3, "batch": 4, "patience": 0}

# A verb and a method, and where it has several ways, which of them.
MATRIX = {
    "finetune dreambooth": Row({"steps": 4, "batch": 2, "learning_rate": 1e-3}, {"steps": 0}, {"micro_batch": 1}),
    "finetune lora": Row({"steps": 4, "batch": 2, "learning_rate": 1e-3}, {"rank": 0}, {"micro_batch": 1}),
    "finetune dreambooth bayesian": Row(
        {"steps": 4, "batch": 2, "learning_rate": 1e-3, "bayesian": True, "kl_weight": 1e-3}, {"sigma": 0.0}, {}
    ),
    "finetune lora bayesian": Row(
        {"steps": 4, "batch": 2, "learning_rate": 1e-3, "bayesian": True}, {"sigma": -1.0}, {}
    ),
    "authenticate cgi-dm": Row(
        {"steps": 3, "batch": 2, "gap_samples": 2}, {"steps": -1}, {"batch": 1, "micro_batch": 1}
    ),
    "authenticate loss-gap": Row({"levels": 4}, {"levels": 0}, {"micro_batch": 1}),
    "authenticate update-alignment": Row({"levels": 3, "pilot": 2}, {"pilot": -1}, {"micro_batch": 1}),
    "authenticate pia": Row({}, {"micro_batch": 0}, {"micro_batch": 1}),
    "extract finextract": Row(DRAWING, {"scale": 0.5}, {"batch": 2}),
    "extract cfg": Row(DRAWING, {"scale": 0.5}, {"batch": 2}),
    "extract direct": Row(DRAWING, {"generations": 1}, {"batch": 2}),
    "flow sample auto": Row({"batch": 2}, {"batch": 0}, {"batch": 1}),
    "flow sample frontier": Row({"batch": 2, "tolerance": 1e-6}, {"tolerance": -1.0}, {"batch": 1}),
    "flow sample jacobi": Row({"batch": 2}, {"tau": -1.0}, {"batch": 1}),
    "flow sample sejd": Row({"batch": 2}, {"tau": 0.0}, {"batch": 1}),
    "flow sample gs-jacobi": Row({"batch": 2, "segments": (3,)}, {"other_sweeps": 0}, {"batch": 1}),
    "flow sample sequential": Row({"batch": 2}, {"batch": 0}, {"batch": 1}),
    "flow sample reference-sequential": Row({"batch": 2}, {"batch": 0}, {"batch": 1}),
    "discover sicl": Row({"subsamples": 3}, {"subsamples": -1}, {}),
}
WITHOUT = {"bench"}
"""Verbs whose methods are no methods of the literature."""


def split(name: str) -> tuple[str, str]:
    """The verb, which may be of two words, and the method of a row."""
    verb = next(verb for verb in VERBS if name.startswith(f"{verb} "))
    return verb, name.removeprefix(f"{verb} ").split()[0]


every_method = pytest.mark.parametrize("name", MATRIX)


def make(name: str, **changes: Any) -> Any:
    verb, method = split(name)
    return load(VERBS[verb].methods[method].target)(**{**MATRIX[name].settings, **changes})


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """The models of each family, made once: that a method leaves them as found is one of the tests."""
    return {verb: family.models(tmp_path_factory.mktemp(verb)) for verb, family in FAMILIES.items()}


@pytest.fixture
def work(scenes):
    """Calls a method by its name in the matrix; gives all that its result says, as tensors."""

    def call(name: str, run: Run | None = None, **changes: Any) -> dict[str, torch.Tensor]:
        family = FAMILIES[split(name)[0]]
        result = family.call(make(name, **changes), scenes[split(name)[0]], run or Run.none())
        return {key: value.clone() for key, value in family.numbers(result).items()}

    return call


def test_no_method_is_missing():
    table = {f"{verb} {method}" for verb, entry in VERBS.items() if verb not in WITHOUT for method in entry.methods}
    assert {" ".join(split(name)) for name in MATRIX} == table


@every_method
def test_help_names_every_setting(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*split(name)[0].split(), split(name)[1], "--help"]) == 0
    shown = capsys.readouterr().out
    verb, method = split(name)
    for field in dataclasses.fields(settings_of(VERBS[verb].methods[method].target)):
        assert f"--{field.name.replace('_', '-')}" in shown


@every_method
def test_a_bad_setting_is_refused_by_name_before_any_work(name, capsys):
    ((setting, value),) = MATRIX[name].bad.items()
    with pytest.raises(ValueError, match=setting):
        make(name, **MATRIX[name].bad)
    command = load(VERBS[split(name)[0]].command)
    required = [f for f in dataclasses.fields(command) if f.default is f.default_factory is dataclasses.MISSING]
    bare = positionals(command)
    inputs = [
        "nowhere" if f.name in bare else f"--{f.name.replace('_', '-')}=nowhere" for f in required if f.name != "method"
    ]
    assert main([*split(name)[0].split(), split(name)[1], *inputs, f"--{setting.replace('_', '-')}={value}"]) == 2
    error = capsys.readouterr().err
    assert setting in error
    assert "nowhere" not in error


@every_method
def test_what_is_saved_is_what_was_found(name, scenes, tmp_path):
    family = FAMILIES[split(name)[0]]
    result = family.call(make(name), scenes[split(name)[0]], Run.none())
    found, stored = family.stored(result, tmp_path / "saved")
    assert found.keys() == stored.keys()
    for key in found:
        torch.testing.assert_close(stored[key].float(), found[key].float(), equal_nan=True, msg=key)


@every_method
def test_the_same_call_gives_the_same_bits(name, work):
    assert same(work(name), work(name))


@every_method
def test_smaller_pieces_give_the_same_result_up_to_rounding(name, work):
    whole, pieces = work(name), work(name, **MATRIX[name].micro)
    assert whole.keys() == pieces.keys()
    for key in whole:
        torch.testing.assert_close(pieces[key], whole[key], rtol=2e-3, atol=2e-4, equal_nan=True, msg=key)


@every_method
@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_the_models_are_left_as_they_were_found(name, work, scenes, tmp_path, error):
    models = scenes[split(name)[0]]
    before = [state_of(model) for model in models]
    drawn = torch.random.get_rng_state()
    with opened(tmp_path, make(name)) as run:
        if error is None:
            work(name, run)
        else:
            with pytest.raises(error):
                work(name, breaking(run, 2, error))
    assert [same(state_of(model), state) for model, state in zip(models, before, strict=True)] == [True] * len(models)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert torch.is_grad_enabled()


@every_method
@pytest.mark.parametrize("seed", range(2))
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(name, seed, work, tmp_path):
    with opened(tmp_path / "whole", make(name)) as run:
        whole = work(name, breaking(run, 0))
    assert run.steps > 1, "a method that shows no progress cannot be resumed"
    at = random.Random(f"{name} {seed}").randint(1, run.steps)
    with pytest.raises(Killed), opened(tmp_path / "killed", make(name)) as killed:
        work(name, breaking(killed, at))
    with opened(tmp_path / "killed", make(name)) as again:
        assert again.status == "unfinished"
        assert same(work(name, breaking(again, 0)), whole)
    assert again.steps <= run.steps - at + 1, "what was done before the kill is done again"
