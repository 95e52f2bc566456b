"""`tools/setup.py` installs once, and never takes half an installation for a whole one."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The tool, at work on a checkout where making an environment and installing are only noted."""
    spec = importlib.util.spec_from_file_location("setup_tool", ROOT / "tools" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").write_text("[project]\nname = 'x'\n[build-system]\nrequires = []\n[tool.a]\nb = 1\n")
    (checkout / "constraints.txt").write_text("torch==2.13.0\n")
    point_at(module, monkeypatch, checkout)
    module.done, module.breaks = [], []
    really = subprocess.run

    def run(command, **settings):
        words = [str(word) for word in command]
        if words[1] != "-m":
            return really(command, **settings)
        if words[1:3] == ["-m", "venv"]:
            module.done.append("venv")
            (Path(words[3]) / "bin").mkdir(parents=True)
            (Path(words[3]) / "bin" / "python").symlink_to(sys.executable)
        else:
            module.done.append(words[-1].removeprefix(str(module.ROOT)))
            if module.breaks:
                raise module.breaks.pop()
        return None

    monkeypatch.setattr(module.subprocess, "run", run)
    return module


def point_at(module, monkeypatch, checkout):
    monkeypatch.setattr(module, "ROOT", checkout)
    monkeypatch.setattr(module, "VENV", checkout / ".venv")
    monkeypatch.setattr(module, "MARK", checkout / ".venv" / "intaglio.json")
    monkeypatch.setattr(module, "PINS", checkout / "constraints.txt")


def test_nothing_is_installed_twice_and_groups_add_up(tool):
    assert tool.main(set()) is None
    assert tool.main(set()) is None
    assert tool.done == ["venv", ""]
    assert tool.main({"test"}) is None
    assert tool.main(set()) is None
    assert tool.main({"test"}) is None
    assert tool.done == ["venv", "", "[test]"]
    assert tool.main({"lint"}) is None
    assert tool.done[3:] == ["[lint,test]"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), subprocess.CalledProcessError(1, "pip"), OSError("disk full")])
def test_an_installation_that_broke_off_is_made_anew(tool, error):
    tool.breaks.append(error)
    assert "same command" in tool.main({"test"})
    tool.done.clear()
    assert tool.main({"test"}) is None
    assert tool.done == ["venv", "[test]"]


def test_kill_9_while_adding_a_group_leaves_no_mark(tool):
    tool.main(set())
    tool.breaks.append(SystemExit(137))
    with pytest.raises(SystemExit):
        tool.main({"test"})
    assert tool.installed() == {}
    tool.done.clear()
    tool.main(set())
    assert tool.done == ["venv", ""]


def test_new_pins_are_installed_and_settings_of_tools_are_not(tool):
    tool.main(set())
    tool.done.clear()
    project = tool.ROOT / "pyproject.toml"
    project.write_text(project.read_text().replace("b = 1", "b = 2"))
    os.utime(project)
    tool.main(set())
    assert tool.done == []
    tool.PINS.write_text("torch==2.14.0\n")
    tool.main(set())
    assert tool.done == [""]
    project.write_text(project.read_text().replace("'x'", "'y'"))
    tool.main(set())
    assert tool.done == ["", ""]


def test_a_moved_checkout_gets_a_new_environment(tool, monkeypatch):
    tool.main({"test"})
    tool.done.clear()
    moved = tool.ROOT.rename(tool.ROOT.with_name("moved"))
    point_at(tool, monkeypatch, moved)
    tool.main(set())
    assert tool.done == ["venv", ""]


def test_an_environment_whose_python_is_gone_is_made_anew(tool):
    tool.main(set())
    tool.done.clear()
    python = tool.VENV / "bin" / "python"
    python.unlink()
    python.symlink_to("nowhere")
    tool.main(set())
    assert tool.done == ["venv", ""]


def test_an_old_python_is_refused_in_one_sentence(tool, monkeypatch):
    monkeypatch.setattr(tool.sys, "version_info", (3, 10, 0))
    assert "needs Python 3.11" in tool.main(set())
    assert tool.done == []


def test_make_without_a_python_says_so_in_one_sentence():
    command = ["make", "-C", str(ROOT), "--no-print-directory", "demo", "PYTHON=python-that-is-not-here"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("There is no working python-that-is-not-here here; install Python 3.11")


def test_torch_is_pinned_to_one_release_without_a_build():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1].isalpha())
    assert pins["torch"] == "2.13.0"
    assert all("+" not in version for version in pins.values())
