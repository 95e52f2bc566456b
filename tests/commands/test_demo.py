import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

import small_demo
import tiny
from intaglio.commands import demo as room
from intaglio.commands.demo import Demo, right, run_of
from intaglio.errors import BadInput, IntaglioError
from intaglio.models import testbed
from intaglio.report import content_hash


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny.sd_folder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def small(monkeypatch, base):
    """Runs the demo on a tiny model into a folder."""
    small_demo.use_tiny(monkeypatch.setattr, base)
    return small_demo.run_demo


@dataclass(frozen=True)
class Told:
    """A demo that nobody disturbed, and what it said."""

    folder: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def whole(tmp_path_factory, base) -> Told:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        small_demo.use_tiny(patch.setattr, base)
        small_demo.run_demo(folder)
    return Told(folder, out.getvalue(), err.getvalue())


def reports(runs: Path) -> dict[str, str]:
    found = {path.parent.name: content_hash(path) for path in sorted(runs.glob("*/report.html"))}
    assert len(found) == 2
    return found


def test_it_ends_with_two_reports_and_says_how_often_it_was_right(whole):
    (audit,) = whole.folder.glob("authenticate-cgi-dm-*")
    (tuned,) = whole.folder.glob("finetune-dreambooth-*")
    counts = right(audit)
    assert (counts["members"], counts["holdouts"]) == (2, 2)
    assert f"members   {counts['members_right']} of 2 right" in whole.out
    assert f"holdouts  {counts['holdouts_right']} of 2 right" in whole.out
    assert "intaglio authenticate cgi-dm --base BASE" in whole.out
    assert whole.out.splitlines()[-1].split()[-1] == str(audit / "report.html")
    assert "Tuned on 2 pictures under the prompt “sks style”" in (tuned / "report.html").read_text()
    text = (audit / "report.html").read_text()
    assert text.count("It was in the fine-tuning set") == text.count("It was not in the fine-tuning set") == 2
    assert "of 2 questioned" in text


def test_its_runs_are_those_of_the_commands_it_names(whole):
    told = [shlex.split(line)[2:] for line in whole.err.splitlines() if line.startswith("$ intaglio ")]
    assert [words[0] for words in told] == ["finetune", "authenticate"]
    for words in told:
        (folder,) = whole.folder.glob(f"{words[0]}-*")
        command = json.loads((folder / "run.json").read_text())["command"]
        assert command[:2] == words[:2]
        assert str(whole.folder / "pictures" / "mammals" / "members") in command


def test_done_it_says_so_and_works_no_more(small, whole, capsys, monkeypatch):
    monkeypatch.setattr(room, "run_words", None)
    small(whole.folder)
    out, err = capsys.readouterr()
    assert "done already" in err
    assert out == whole.out


def test_the_report_may_go_elsewhere(small, whole, tmp_path, capsys):
    small(whole.folder, out=tmp_path / "verdict.html")
    assert (tmp_path / "verdict.html").is_file()
    assert capsys.readouterr().out.splitlines()[-1].split()[-1] == str(tmp_path / "verdict.html")


def test_a_lost_audit_is_made_again(small, whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "runs")
    (audit,) = (tmp_path / "runs").glob("authenticate-*")
    shutil.rmtree(audit)
    small(tmp_path / "runs")
    assert reports(tmp_path / "runs") == reports(whole.folder)


@pytest.mark.parametrize(
    ("target", "name", "at"),
    [
        ("intaglio.adapt.training", "accumulate", 3),
        ("intaglio.audit.membership.methods.cgi_dm", "project", 2),
        ("intaglio.report.render", "atomic_write", 2),
    ],
)
def test_interrupted_it_goes_on_to_the_same_reports(small, whole, tmp_path, monkeypatch, target, name, at):
    module = sys.modules[target]
    original, calls = getattr(module, name), []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path)
    small(tmp_path)
    assert reports(tmp_path) == reports(whole.folder)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("write", [60])
def test_killed_in_the_middle_of_a_write_it_goes_on_to_the_same_reports(small, whole, tmp_path, base, write):
    places = os.pathsep.join(path for path in sys.path if path)
    script = [sys.executable, small_demo.__file__, str(base), str(tmp_path), str(write)]
    environment = {**os.environ, "PYTHONPATH": places}
    ended = subprocess.run(script, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    small(tmp_path)
    assert reports(tmp_path) == reports(whole.folder)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "steps"),
        ({"seed": -1}, "seed"),
        ({"method": "dream"}, "method must be one of dp-lora, dreambooth, lora"),
    ],
)
def test_wrong_settings_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Demo(**wrong)


def test_a_wrong_set_names_the_others(tmp_path):
    if not (testbed.FOLDER / "emoji64").is_dir():
        pytest.skip("the base model is not there")
    with pytest.raises(BadInput, match="mammals"):
        Demo(set="unicorns", runs=tmp_path)()


def test_a_command_that_fails_ends_the_demo(monkeypatch):
    monkeypatch.setattr("intaglio.commands.kit.dispatch.run", lambda _: 2)
    with pytest.raises(IntaglioError, match="exit code 2"):
        room.run_words(["finetune", "dreambooth"])


def test_the_run_of_a_result(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    assert run_of(tmp_path / "model") == tmp_path
    assert run_of(tmp_path / "a" / "b.html") == tmp_path
