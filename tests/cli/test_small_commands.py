"""`bench`, `report` and `doctor`: what they print, with everything heavy replaced."""

import json
import shutil
from dataclasses import dataclass
from importlib import metadata

import pytest

import intaglio.report
import tiny
from intaglio.cli import main
from intaglio.commands import doctor
from intaglio.commands.kit import dispatch
from intaglio.errors import IntaglioError
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.verbs import Method, Verb


@dataclass(frozen=True)
class ToyBench:
    """A bench of nothing."""

    quick: bool = False
    """Faster."""

    def __call__(self, **about):
        return {"auc": 0.5 if self.quick else 0.25, "command": list(about["command"])}

    def summary(self, figures):
        return f"auc  {figures['auc']}"


@pytest.fixture
def run_bench(monkeypatch, capsys):
    table = {"toy": Method(f"{__name__}:ToyBench", "a bench of nothing")}
    monkeypatch.setattr(dispatch, "VERBS", {"bench": Verb("intaglio.commands.bench:Bench", "measure", table)})

    def run(*words):
        code = main(["bench", "toy", *words])
        return code, *capsys.readouterr()

    return run


def test_a_bench_prints_its_table(run_bench):
    assert run_bench("--quick") == (0, "auc  0.5\n", "")


def test_with_json_the_last_line_of_output_is_one_object(run_bench):
    code, out, err = run_bench("--json")
    assert code == 0
    assert out.count("\n") == 1
    assert json.loads(out) == {"auc": 0.25, "command": ["bench", "toy", "--json"]}
    assert err == "auc  0.25\n"


def test_quiet_leaves_the_json_alone(run_bench):
    assert run_bench("--json", "--quiet")[1:] == ('{"auc": 0.25, "command": ["bench", "toy", "--json"]}\n', "")


def test_a_report_is_written_where_asked(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text('{"format": 1, "name": "run"}')

    def write_report(folder, out=None):
        place = out or folder / "report.html"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("<!doctype html>")
        return place

    monkeypatch.setattr(intaglio.report, "write_report", write_report)
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    out = tmp_path / "elsewhere" / "x.html"
    assert main(["report", str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_text() == "<!doctype html>"


def test_a_folder_without_a_run_has_no_report(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err


def test_doctor_tells_of_the_machine_without_the_testbed(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "testbed", lambda: [("testbed", "not asked")])
    assert main(["doctor", "--no-check", "--quiet"]) == 0
    out, err = capsys.readouterr()
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert err == ""
    assert {"intaglio", "python", "platform", "processor", "memory", "disk", "torch", "testbed"} <= rows.keys()
    assert "GiB" in rows["memory"]


def test_doctor_draws_a_picture_twice_with_the_testbed_and_names_it(monkeypatch, tmp_path):
    monkeypatch.setattr(testbed, "base_path", lambda: tiny.sd_folder(tmp_path / "model"))
    rows = dict([*doctor.testbed(), *doctor.drawing()])
    assert rows["testbed"].startswith(f"model {load_model(tmp_path / 'model').fingerprint[:16]}")
    assert rows["self-check"].startswith("drawn twice alike in ")


def test_doctor_says_that_the_testbed_is_missing(monkeypatch):
    def missing():
        raise IntaglioError("it is not there; install it")

    monkeypatch.setattr(testbed, "base_path", missing)
    assert dict(doctor.testbed()) == {"testbed": "MISSING: it is not there; install it"}
    assert list(doctor.drawing()) == []


def test_packages_tell_which_groups_are_whole(monkeypatch):
    wanted = ["torch>=2", "numpy", "pytest>=8; extra == 'test'", "no-such-thing; extra == 'rare'"]
    monkeypatch.setattr(metadata, "requires", lambda _: wanted)
    rows = dict(doctor.packages())
    assert rows["torch"] == metadata.version("torch")
    assert rows["group test"] == "whole"
    assert rows["group rare"] == "without no-such-thing"


def test_free_disk_is_that_of_this_folder(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 6, 3 * 2**30))
    assert dict(doctor.machine())["disk here"] == "3.0 GiB free"
