"""`intaglio audit queries` from the command line to its report."""

import json

import pytest

from intaglio.cli import main


@pytest.mark.parametrize("engine", ["sticky", "laplace"])
def test_records_are_attacked_and_reported(engine, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = f"audit queries diffix-cloning --engine {engine} --records 4 --clones 3".split()
    assert main(line) == 0
    assert "of 4 records guessed rightly" in capsys.readouterr().out
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(json.loads((folder / "query_guesses.json").read_text())["guesses"]) == 4
    assert "log odds" in (folder / "report.html").read_text()


def test_a_secret_that_is_no_column_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n")
    assert main(["audit", "queries", "averaging", "--table", "t.csv", "--secret", "c", "--known", "a"]) == 2
    assert "c" in capsys.readouterr().err
