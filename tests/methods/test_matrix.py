"""The shared tests of every method; a method joins them by what its own test says (see tests/support/rows.py)."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from budget import SHARED_CPU_S, affordable
from families import FAMILIES, Killed, breaking, opened, same, state_of
from intaglio.cli import main
from intaglio.commands.kit.parsing import positionals
from intaglio.commands.kit.source_settings import load, settings_of
from intaglio.runs.run import Run
from intaglio.verbs import VERBS
from rows import Row, matrix, with_paths

MATRIX = matrix()


every_method = pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in MATRIX.items()])


def make(row: Row, **changes: Any) -> Any:
    return load(row.target)(**with_paths({**row.small, **changes}))


@dataclasses.dataclass(frozen=True)
class Whole:
    """One undisturbed call of a method, which most tests compare with."""

    result: Any
    numbers: dict[str, torch.Tensor]
    steps: int
    """Of its progress."""
    changed: list[bool]
    """Of each model, then of the global generator: whether anything is another than before the call."""


class Scene:
    """The models of a verb's methods, made once, and the whole results, each computed once."""

    def __init__(self, folder: Callable[[str], Any]):
        self.folder = folder
        self.models: dict[str, tuple[Any, ...]] = {}
        self.whole: dict[str, Whole] = {}

    def models_of(self, row: Row) -> tuple[Any, ...]:
        if row.verb not in self.models:
            self.models[row.verb] = FAMILIES[row.verb].models(self.folder("models"))
        return self.models[row.verb]

    def called(self, row: Row, run: Run, **changes: Any) -> Any:
        return FAMILIES[row.verb].call(make(row, **changes), self.models_of(row), run)

    def numbers(self, row: Row, run: Run, **changes: Any) -> dict[str, torch.Tensor]:
        """All that the result of a call says, as tensors."""
        return _numbers(row, self.called(row, run, **changes))

    def undisturbed(self, row: Row) -> Whole:
        if row.key not in self.whole:
            models = self.models_of(row)
            before, drawn = [state_of(model) for model in models], torch.random.get_rng_state()
            with opened(self.folder("whole"), make(row)) as run:
                result = self.called(row, breaking(run, 0))
            changed = [not same(state_of(model), state) for model, state in zip(models, before, strict=True)]
            changed.append(not torch.equal(torch.random.get_rng_state(), drawn))
            self.whole[row.key] = Whole(result, _numbers(row, result), run.steps, changed)
        return self.whole[row.key]


def _numbers(row: Row, result: Any) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in FAMILIES[row.verb].numbers(result).items()}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp)


@every_method
def test_help_names_every_setting(row, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*row.verb.split(), row.method, "--help"]) == 0
    shown = capsys.readouterr().out
    for field in dataclasses.fields(settings_of(row.target)):
        assert f"--{field.name.replace('_', '-')}" in shown


@every_method
def test_a_bad_setting_is_refused_by_name_before_any_work(row, capsys, monkeypatch):
    monkeypatch.setattr("intaglio.commands.kit.dispatch.check_early", lambda command: None)  # of paths
    ((setting, value),) = row.bad.items()
    with pytest.raises(ValueError, match=setting):
        make(row, **row.bad)
    command = load(VERBS[row.verb].command)
    required = [f for f in dataclasses.fields(command) if f.default is f.default_factory is dataclasses.MISSING]
    bare = positionals(command)
    inputs = [
        "nowhere" if f.name in bare else f"--{f.name.replace('_', '-')}=nowhere" for f in required if f.name != "method"
    ]
    assert main([*row.verb.split(), row.method, *inputs, f"--{setting.replace('_', '-')}={value}"]) == 2
    error = capsys.readouterr().err
    assert setting in error
    assert "nowhere" not in error


@every_method
def test_what_is_saved_is_what_was_found(row, scene, tmp_path):
    found, stored = FAMILIES[row.verb].stored(scene.undisturbed(row).result, tmp_path / "saved")
    assert found.keys() == stored.keys()
    for key in found:
        torch.testing.assert_close(stored[key].float(), found[key].float(), equal_nan=True, msg=key)


@every_method
def test_smaller_pieces_give_the_same_result_up_to_rounding(row, scene):
    if not row.pieces:
        return  # each piece has randomness of its own; an equal call is asked for below
    whole, pieces = scene.undisturbed(row).numbers, scene.numbers(row, Run.none(), **row.pieces)
    assert whole.keys() == pieces.keys()
    for key in whole:
        torch.testing.assert_close(pieces[key], whole[key], rtol=2e-3, atol=2e-4, equal_nan=True, msg=key)


@every_method
def test_the_models_are_left_as_they_were_found(row, scene):
    assert scene.undisturbed(row).changed == [False] * (len(scene.models_of(row)) + 1)
    assert torch.is_grad_enabled()


@every_method
def test_a_run_interrupted_and_killed_goes_on_and_ends_with_the_same_bits(row, scene, tmp_path):
    """The models are left as they were found each time, and the three parts are an independent second call."""
    whole, models = scene.undisturbed(row), scene.models_of(row)
    assert whole.steps > 1, "the progress must advance twice or more, to be killed between: see SMALL"
    before, drawn = [state_of(model) for model in models], torch.random.get_rng_state()
    left = whole.steps
    for kill, error in enumerate((KeyboardInterrupt, Killed)):
        # The step of a kill may have been stored or not, so that one more or one fewer is left.
        at = random.Random(f"{row.key} {kill}").randint(1, max(1, left - 1))
        with pytest.raises(error), opened(tmp_path, make(row)) as killed:
            scene.called(row, breaking(killed, at, error))
        most, left = left - at + 1, left - at
        assert [same(state_of(one), state) for one, state in zip(models, before, strict=True)] == [True] * len(models)
        assert torch.equal(torch.random.get_rng_state(), drawn)
        assert torch.is_grad_enabled()
    with opened(tmp_path, make(row)) as again:
        assert again.status == "unfinished"
        assert same(scene.numbers(row, breaking(again, 0)), whole.numbers)
    assert again.steps <= most, "what was done before the kill is done again"


@every_method
def test_the_shared_tests_cost_no_more_than_their_budget(row, spent):
    assert spent <= SHARED_CPU_S or spent <= affordable(SHARED_CPU_S), (
        "make SMALL smaller: every method pays this in every run of the tests"
    )
