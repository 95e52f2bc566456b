"""Shared behaviour of attacks by queries; a method joins by its file and its own test."""

import json
import math

import numpy as np
import pytest

from intaglio.audit.queries.audit import attack_records
from intaglio.audit.queries.family import Guess
from intaglio.audit.queries.laplace_engine import LaplaceNoise
from intaglio.audit.queries.query_engine import Answer, Secret
from intaglio.audit.queries.result import GuessedRecord, QueryGuesses
from intaglio.audit.queries.sticky_engine import StickyNoise
from intaglio.audit.queries.synthetic_records import SECRET, attribute_names, synthetic_records
from intaglio.cli import main
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput
from rows import matrix

ROWS = [pytest.param(row, id=key) for key, row in matrix().items() if row.verb == "audit queries"]
every_attack = pytest.mark.parametrize("row", ROWS)
KNOWN = attribute_names(3)


@pytest.fixture(scope="module")
def table():
    return synthetic_records(40, 3)


def attacked(row, table, engine, **further):
    return attack_records(load(row.target)(), table, SECRET, KNOWN, engine=engine, **further)


@every_attack
def test_a_budget_stops_it(row, table):
    """Within the bound, and with no more answers than are paid for."""
    engine = LaplaceNoise(epsilon=0.1, budget=1.0)
    found = attacked(row, table, engine)
    assert len(found.guesses) == 40
    assert found.bound == pytest.approx(math.e / (1 + math.e))
    assert abs(found.accuracy - 0.5) < 0.25
    assert all(one.queries - one.refused <= 10 for one in found.guesses)
    assert (found.expected, found.others_tested) == (None, 0)


@every_attack
def test_it_asks_no_more_than_it_says_and_knows_nothing_of_the_truth(row, table):
    method = load(row.target)()
    assert len(method.reading) > 20
    assert 0.5 < method.expected_accuracy(3) <= 1
    for engine in (StickyNoise(), LaplaceNoise(budget=math.inf)):
        found = attacked(row, table, engine)
        assert max(one.queries for one in found.guesses) <= method.most_queries(3)
    assert method.most_queries(5) <= 48

    class Silent:
        suppresses = True

        def count(self, conditions):
            return Answer(None, "suppressed")

    record = dict.fromkeys(KNOWN, "1")
    guesses = [load(row.target)(seed=seed)(Silent(), record, SECRET) for seed in range(30)]
    assert {one.log_odds for one in guesses} == {0.0}
    assert {one.value for one in guesses} == {True, False}
    assert all(0 < one.suppressed == one.queries <= method.most_queries(3) for one in guesses)


@every_attack
def test_what_it_cannot_attack_is_refused(row, table):
    method = load(row.target)()
    for record, words in (({}, "nothing is known"), ({"secret": "1"}, "secret is the secret, and is known")):
        with pytest.raises(BadInput, match=words):
            method(StickyNoise().open(table), record, SECRET)
    with pytest.raises(BadInput, match="no record has '2' in secret"):
        attack_records(method, table, Secret("secret", "2"), KNOWN, engine=StickyNoise())
    with pytest.raises(BadInput, match="1 records cannot be half"):
        attacked(row, table, StickyNoise(), records=1)
    with pytest.raises(BadInput, match="no record with '1' in secret is the only one"):
        attack_records(method, table, SECRET, ["a1"], engine=StickyNoise())


@every_attack
def test_attacked_are_as_many_with_the_value_as_without_who_stand_alone(row, table):
    found = attacked(row, table, StickyNoise(), records=11)
    assert sum(one.truth for one in found.guesses) == 5
    assert len({one.row for one in found.guesses}) == 10
    assert table.unique(KNOWN)[[one.row for one in found.guesses]].all()
    assert (found.others_tested, found.others_mistaken, found.passed_over) == (11, 0, 0)


def test_records_that_the_engine_counts_as_several_are_passed_over(monkeypatch):
    """A record that stands alone is never counted by sticky noise, so that others are planted here."""
    table = synthetic_records(8, 3)
    alone = np.flatnonzero(table.unique(KNOWN))
    seen = [table.record(row, KNOWN) for row in alone[:2].tolist()]
    monkeypatch.setattr("intaglio.audit.queries.audit.seems_unique", lambda asked, record: record not in seen)
    (row,) = (one for one in matrix().values() if one.key == "audit queries averaging")
    found = attacked(row, table, StickyNoise(), records=8)
    assert not {one.row for one in found.guesses} & set(alone[:2].tolist())
    assert found.passed_over >= 1
    assert found.others_mistaken == found.others_tested == 8
    monkeypatch.setattr("intaglio.audit.queries.audit.seems_unique", lambda asked, record: False)
    with pytest.raises(BadInput, match="none seems to stand alone"):
        attacked(row, table, StickyNoise())


def result(*guesses, **further):
    rows = tuple(GuessedRecord.of(k, truth, guess) for k, (truth, guess) in enumerate(guesses))
    return QueryGuesses("averaging", {"name": "sticky"}, SECRET, KNOWN, rows, **further)


def test_figures_by_hand():
    found = result(
        (True, Guess(True, 1.5, 10)), (False, Guess(True, 0.5, 10, 1)), (False, Guess(False, 0.0, 4, 2, 2)),
        (True, Guess(True, 0.0, 0)), others_tested=4, others_mistaken=1,
    )  # fmt: skip
    figures = found.figures()
    assert (figures["right"], figures["accuracy"], figures["informed"], figures["informed_accuracy"]) == (
        3,
        0.75,
        2,
        0.5,
    )
    assert (figures["queries"], figures["suppressed_share"], figures["refused_share"]) == (6, 3 / 24, 2 / 24)
    assert figures["others_mistaken_share"] == 0.25
    assert figures["accuracy_low"] == pytest.approx(0.1941, abs=1e-4)
    assert "3 of 4 records guessed rightly (75.0%" in found.statement
    assert "Of 2 no answer told anything" in found.statement
    assert list(found.to_frame()["right"]) == [True, False, True, True]


def test_a_damaged_result_is_told_in_a_sentence(tmp_path):
    found = result((True, Guess(True, 1.5, 10)))
    found.save(tmp_path)
    stored = json.loads((tmp_path / "query_guesses.json").read_text())
    for changes, words in (({"guesses": []}, "no guesses"), ({"secret": None}, "another kind")):
        (tmp_path / "query_guesses.json").write_text(json.dumps({**stored, **changes}))
        with pytest.raises(BadInput, match=words):
            QueryGuesses.load(tmp_path)
    assert QueryGuesses.load(tmp_path / "elsewhere") is None


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    """40 towns of 40 people each, of every age once, half of them ill."""
    path = tmp_path_factory.mktemp("towns") / "people.csv"
    random = np.random.default_rng(0)
    lines = [
        f"{town},{age},{'yes' if random.random() < 0.5 else 'no'}"
        for town in range(40)
        for age in range(town, town + 40)
    ]
    path.write_text("\n".join(["town,age,ill", *lines]) + "\n")
    return path


def asked(path, *more):
    return ["audit", "queries", *more[:1], "--table", str(path), "--secret", "ill", "--known", "town", "age", *more[1:]]


def test_the_command_finds_the_secrets_of_a_table(towns, tmp_path, capsys):
    words = asked(towns, "diffix-cloning", "--records", "60", "--runs", str(tmp_path), "--quiet")
    assert main(words) == 0
    said = capsys.readouterr().out
    (folder,) = tmp_path.glob("audit-queries-diffix-cloning-*")
    stored = json.loads((folder / "query_guesses.json").read_text())
    assert stored["secret"] == {"column": "ill", "value": "yes"}
    assert stored["known"] == ["town", "age"]
    right = sum(one["truth"] == one["value"] for one in stored["guesses"])
    assert right >= 57
    assert f"{right} of 60 records guessed rightly" in said
    page = (folder / "report.html").read_text()
    assert "Audit of an engine that answers queries" in page
    assert f"{right} of 60 secrets guessed rightly" in page
    assert page.count("<td>right</td>") == right
    assert len((folder / "guesses.csv").read_text().splitlines()) == 61
    record = json.loads((folder / "run.json").read_text())
    assert record["summary"]["accuracy"] == right / 60
    (folder / "guesses.csv").unlink()
    assert main(words) == 0
    assert json.loads((folder / "query_guesses.json").read_text()) == stored
    assert main(["runs", "resume", str(folder), "--quiet"]) == 0


def test_without_a_table_a_synthetic_one_is_taken(tmp_path, capsys):
    words = ["audit", "queries", "averaging", "--records", "6", "--engine", "laplace", "--no-rounded"]
    assert main([*words, "--runs", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["summary"]["records"] == 6
    assert told["summary"]["bound"] == pytest.approx(0.731, abs=1e-3)
    assert any("--no-rounded" in one or "--rounded" in one for one in told["warnings"])


def test_fewer_records_than_asked_for_are_warned_of(towns, tmp_path, capsys):
    few = towns.with_name("few.csv")
    few.write_text("\n".join(towns.read_text().splitlines()[:41]) + "\n")
    assert main([*asked(few, "averaging"), "--runs", str(tmp_path)]) == 0
    assert "records stand alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--table", "nowhere.csv"], "nowhere.csv does not exist; check the path of --table"),
        (["--table", "{table}"], "name the secret column of"),
        (["--table", "{table}", "--secret", "ill"], "name the columns with --known"),
        (["--table", "{table}", "--secret", "wealth", "--known", "town"], "no column 'wealth'"),
        (["--table", "{table}", "--secret", "age", "--known", "town"], "name the one to ask about with --value"),
        (["--table", "{table}", "--secret", "ill", "--known", "town"], "is the only one with its values in town"),
        (["--secret", "ill"], "the synthetic table has columns of its own, so --secret would have no effect"),
        (["--records", "1"], "records must be 2 to 10,000"),
        (["--engine", "laplace", "--budget", "0.01"], "budget must be at least epsilon"),
        (["--engine", "laplace", "--epsilon", "0"], "epsilon must be above 0"),
    ],
)
def test_bad_input_is_told_at_once(towns, tmp_path, capsys, given, words):
    given = [one.format(table=towns) for one in given]
    assert main(["audit", "queries", "averaging", *given, "--runs", str(tmp_path / "runs")]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "runs").exists()
