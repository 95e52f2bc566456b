"""A run's folder in place of the model that it made."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from intaglio.cli import main
from intaglio.commands.kit.run_results import with_results
from intaglio.errors import BadInput


@dataclass(frozen=True)
class _Takes:
    model: Path


def made(folder, **about):
    header = {"format": 1, "name": folder.name, "verb": "finetune", "status": "done", "summary": {"weights": "w"}}
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(header | about))
    return _Takes(folder)


def test_the_result_of_a_finished_run_takes_its_place(tmp_path):
    assert with_results(made(tmp_path / "a")).model == tmp_path / "a" / "w"
    assert with_results(_Takes(tmp_path)).model == tmp_path


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"status": "unfinished"}, "is a run that is unfinished"),
        ({"verb": "authenticate"}, "a run of authenticate, which makes nothing for --model"),
        ({"summary": {}}, "makes nothing for --model"),
        ({"summary": {"weights": "../w"}}, "leads out of its folder"),
    ],
)
def test_a_run_without_a_whole_result_is_refused(tmp_path, about, said):
    with pytest.raises(BadInput, match=said):
        with_results(made(tmp_path / "a", **about))


def test_a_result_that_is_a_link_out_of_its_run_is_refused(tmp_path):
    command = made(tmp_path / "a")
    (tmp_path / "elsewhere").touch()
    (tmp_path / "a" / "w").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="leads out of its folder"):
        with_results(command)


def test_a_runs_name_stands_for_it_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    made(tmp_path / "runs" / "finetune-lora-0123456789")
    weights = Path("runs/finetune-lora-0123456789/w")
    for name in ("finetune-lora-0123456789", "finetune-lora", "0123"):
        assert with_results(_Takes(Path(name))).model == weights
    assert with_results(_Takes(Path("emoji64"))).model == Path("emoji64"), "an embedded model"
    assert with_results(_Takes(Path("nothing"))).model == Path("nothing")
    made(tmp_path / "runs" / "finetune-lora-9876543210")
    with pytest.raises(BadInput, match="fits 2 runs"):
        with_results(_Takes(Path("finetune-lora")))
    (tmp_path / "finetune-lora").touch()
    assert with_results(_Takes(Path("finetune-lora"))).model == Path("finetune-lora")


@pytest.mark.parametrize("line", ["report a", "doctor", "view .", "completion bash"])
def test_json_is_refused_before_the_work_of_a_command_that_keeps_no_run(line, capsys):
    assert main([*line.split(), "--json"]) == 2
    assert "keeps no run whose figures could be written; leave --json out" in capsys.readouterr().err
