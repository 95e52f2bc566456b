"""Completion: what may stand in the place of the last word, and the scripts by which shells ask for it."""

import shutil
import subprocess
import sys

import pytest

from intaglio.cli import main
from intaglio.commands.kit.completing import SCRIPTS, candidates


def test_verbs_parts_methods_flags_and_values_are_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert candidates(["fi"]) == ["finetune"]
    assert {"finetune", "flow", "runs", "--help"} <= set(candidates([""]))
    assert candidates(["flow", "s"]) == ["sample"]
    assert candidates(["finetune", "l"]) == ["lora"]
    assert {"--learning-rate", "--images", "--rank", "--dry-run"} <= set(candidates(["finetune", "lora", "--"]))
    assert "--rank" not in candidates(["finetune", "dreambooth", "--"])
    assert candidates(["finetune", "lora", "--rank", "4", "--no-s"]) == ["--no-skip-bad"]
    assert candidates(["finetune", "lora", "--format", ""]) == ["diffusers", "kohya"]
    assert candidates(["finetune", "lora", "--format", "k"]) == ["kohya"]
    assert candidates(["finetune", "lora", "--images", "pic"]) == [], "a path is the shell's own affair"
    assert "--sampler" in candidates(["sample", "--s"]), "of the method that is taken where none is named"
    assert candidates(["sample", "--sampler", "dpm"]), "a choice that may be None has its values too"
    assert candidates(["authenticate", "cgi-dm", "--preset", ""]) == ["reference"]
    assert candidates(["nonsense", ""]) == []
    assert candidates(["--quiet", "fi"]) == candidates(["--config", "a.toml", "fi"]) == ["finetune"]
    assert candidates(["finetune", "lora", "--format", "=", "k"]) == ["kohya"], "as bash takes --format=k apart"
    assert candidates(["finetune", "lora", "--format", "="]) == ["diffusers", "kohya"]


def test_runs_are_offered_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("finetune-lora-0123456789", "extract-cfg-0123456789"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").touch()
    (tmp_path / "runs" / "finished").mkdir()
    assert candidates(["report", "fi"]) == ["finetune-lora-0123456789"]
    assert {"list", "show", "finetune-lora-0123456789"} <= set(candidates(["runs", ""]))
    models = candidates(["sample", "--model", ""])
    assert {"emoji64", "finetune-lora-0123456789"} <= set(models), "a run's name stands for the model it made"
    assert "extract-cfg-0123456789" not in models
    assert candidates(["sample", "--lora", ""]) == ["finetune-lora-0123456789"]
    (tmp_path / "runs").rename(tmp_path / "others")
    assert candidates(["report", "--runs", "others", "fi"]) == ["finetune-lora-0123456789"]
    assert candidates(["report", "fi"]) == []


def test_the_default_method_is_the_one_completed():
    """Where none is named, flags are those of the method that is taken then, and of no other."""
    default, other = (set(candidates(["discover", *named, "--"])) for named in ((), ("spot",)))
    assert "--subsamples" in default - other


def test_every_shell_asks_the_program(capsys):
    for shell in SCRIPTS:
        assert main(["completion", shell]) == 0
        assert "intaglio --complete" in capsys.readouterr().out
    assert main(["--complete", "finetune", "d"]) == 0
    assert capsys.readouterr().out.split() == ["dp-lora", "dreambooth"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash is installed")
@pytest.mark.parametrize(
    ("words", "given"), [("intaglio finetune lo", ["lora"]), ("intaglio report tu", ["tuned\\ by\\ me", "tuned\\*"])]
)
def test_bash_completes_by_the_script(tmp_path, words, given):
    """Names are quoted, and none is taken for a pattern of files."""
    (tmp_path / "intaglio").write_text(f'#!/bin/sh\nexec {sys.executable} -m intaglio "$@"\n')
    (tmp_path / "intaglio").chmod(0o755)
    for name in ("tuned by me", "tuned*"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").touch()
    (tmp_path / "tuned file").touch()
    count = len(words.split()) - 1
    asked = f'{SCRIPTS["bash"]}\nPATH="{tmp_path}:$PATH"\nCOMP_WORDS=({words})\nCOMP_CWORD={count}\n_intaglio\n'
    done = subprocess.run(
        ["bash", "-c", f"{asked}printf '%s\\n' \"${{COMPREPLY[@]}}\""], capture_output=True, text=True, cwd=tmp_path
    )
    assert sorted(done.stdout.splitlines()) == given, done.stderr
