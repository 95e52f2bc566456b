"""Tables of texts from CSV, and what of them cannot be attacked."""

import numpy as np
import pytest

from intaglio.audit.queries.record_table import RecordTable, asked_value, check_attack
from intaglio.errors import BadInput


def written(folder, text):
    (folder / "t.csv").write_text(text)
    return folder / "t.csv"


def test_values_are_texts_and_blanks_around_them_do_not_count(tmp_path):
    table = RecordTable.read(written(tmp_path, '\ufeffage, town\n1, "Ulm, old"\n1.0,Bonn\n\n1,\n'))
    assert table.names == ("age", "town")
    assert [table.record(row, table.names) for row in range(3)] == [
        {"age": "1", "town": "Ulm, old"},
        {"age": "1.0", "town": "Bonn"},
        {"age": "1", "town": ""},
    ]
    assert table.having("age", "1").tolist() == [True, False, True]
    assert table.having("age", "2").tolist() == [False] * 3
    assert table.unique(["age"]).tolist() == [False, True, False]
    assert table.unique(["age", "town"]).all()


def test_the_hash_follows_names_and_cells():
    columns = {"a": ["1", "2", "1"], "b": ["x", "y", "y"]}
    changed = [{**columns, "a": ["1", "1", "2"]}, {"a": columns["a"], "c": columns["b"]}, {**columns, "a": list("131")}]
    hashes = {RecordTable.of(one).sha256 for one in (columns, *changed)}
    assert len(hashes) == 4
    assert RecordTable.of({name: tuple(cells) for name, cells in columns.items()}).sha256 in hashes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; give a table"),
        ("a,b\n", "has no records"),
        ("a,\n1,2\n", "column 2 of .* has no name"),
        ("a,a\n1,2\n", "two columns called a"),
        ("a,b\n1,2\n1,2,3\n", r"line 3 of .* another number of fields \(3\) than the line of names \(2\)"),
        ('a,b\n1,"2\n', "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_told_in_a_sentence(tmp_path, text, words):
    with pytest.raises(BadInput, match=words):
        RecordTable.read(written(tmp_path, text))


TABLE = RecordTable.of(
    {
        "id": list("1234"),
        "town": list("aabb"),
        "ill": ["no", "yes", "no", "no"],
        "kind": list("xyzx"),
        "one": list("----"),
    }
)


def test_the_asked_value_is_the_last_of_two_or_the_given_one():
    assert asked_value(TABLE, "ill", None) == "yes"
    assert asked_value(TABLE, "kind", "y") == "y"
    for column, value, words in (
        ("kind", None, r"kind has 3 values \(x, y, z\); name the one to ask about with --value"),
        ("ill", "maybe", "no record has 'maybe' in ill; its values are no, yes"),
        ("one", None, "all records have '-' in one"),
        ("age", None, "no column 'age'; choose from: id, town"),
    ):
        with pytest.raises(BadInput, match=words):
            asked_value(TABLE, column, value)


def test_an_attack_without_anybody_to_single_out_is_refused():
    check_attack(TABLE, "ill", "yes", ["id"])
    for known, words in (
        ([], "name the columns with --known"),
        (["age"], "no column 'age'"),
        (["id", "ill"], "ill is the secret, and cannot be known too"),
        (["id", "id"], "id is named twice"),
        (["town"], "no record with 'yes' in ill is the only one with its values in town"),
    ):
        with pytest.raises(BadInput, match=words):
            check_attack(TABLE, "ill", "yes", known)
    assert np.array_equal(TABLE.unique(["town", "kind"]), [True] * 4)
