"""JSON and TOML of strangers: sizes, depth, numbers, types; pipes and devices."""

import math
import os
from pathlib import Path

import pytest

from intaglio.data_files import DEEPEST, Fields, depth, parse_json, read_bytes, read_json, read_toml
from intaglio.errors import BadInput
from intaglio.files import file_hash


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nests too deep"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "deeper than"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "no number"),
        ('{"a": 1e999}', "beyond every"),
        ('{"a": ' + "9" * 400 + "}", "400 digits"),
        ('{"a": ' + "9" * 5000 + "}", "5000 digits"),
        ('{"a": ', "no readable JSON"),
        ("", "no readable JSON"),
    ],
)
def test_json_beyond_the_limits_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=f"it.json.*{words}.*; mend it$"):
        parse_json(text, "it.json", "mend it")


def test_json_within_the_limits_is_read() -> None:
    assert parse_json('{"a": [1, 2.5, 1000000000000000019884624838656, null]}', "x") == {
        "a": [1, 2.5, 10**30 + 19884624838656, None]
    }
    assert depth(parse_json("[" * DEEPEST + "]" * DEEPEST, "x")) == DEEPEST
    assert (depth(3), depth([]), depth({"a": [1]})) == (0, 1, 2)


def test_infinities_that_python_wrote_are_read_where_they_are_allowed() -> None:
    found = parse_json('{"low": -Infinity, "nan": NaN}', "x", constants=True)
    assert found["low"] == -math.inf
    for key in found:
        with pytest.raises(BadInput, match=f"x has {key} .*, where a number is due"):
            Fields.of(found, "x").number(key)


def test_toml_has_the_same_limits(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for text, words in (
        ("a = " + "[" * 50_000, "too deep"),
        ("a = nan", "beyond every"),
        ("a = 1e999", "beyond every"),
        (".".join(["a"] * (DEEPEST + 2)) + " = 1", "deeper than"),
        ("a = ", "no readable TOML"),
        ("x" * (2**20 + 1), "larger than 1 MB"),
    ):
        path.write_text(text)
        with pytest.raises(BadInput, match=words):
            read_toml(path)
    path.write_text("a = 1\n[b]\nc = [2.5]\n")
    assert read_toml(path) == {"a": 1, "b": {"c": [2.5]}}


def test_what_is_no_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    for path, words in (
        (tmp_path / "pipe", "is a pipe"),
        (tmp_path / "zero", "is a device"),
        (tmp_path, "is a folder"),
        (tmp_path / "none", "No such file"),
        (Path("a\0b"), "holds a NUL"),
    ):
        for read in (read_json, file_hash):
            with pytest.raises(BadInput, match=words):
                read(path)
    with pytest.raises(BadInput, match="not UTF-8 text .* at byte 3"):
        read_json(tmp_path / "latin")
    with pytest.raises(BadInput, match="larger than 0 kB"):
        read_bytes(tmp_path / "latin", 3)


def test_fields_are_taken_by_type_and_range() -> None:
    fields = Fields.of(
        {"t": "x", "n": 2, "r": 0.5, "l": [1, 2.5], "d": {"k": "v"}, "b": True, "none": None, "three": 3.0}, "c.json"
    )
    assert (fields.text("t"), fields.whole("n"), fields.number("r"), fields.numbers("l")) == ("x", 2, 0.5, [1.0, 2.5])
    assert (fields.whole("three"), fields.flag("b"), fields.table("d").text("k")) == (3, True, "v")
    assert (fields.whole("none", 7), fields.text("absent", None), fields.number("n")) == (7, None, 2.0)
    for take, words in (
        (lambda: fields.text("n"), "c.json has n 2, where a text is due; "),
        (lambda: fields.text("t", among=("y", "z")), "one of y, z"),
        (lambda: fields.whole("r"), "a whole number from 0 to"),
        (lambda: fields.whole("b"), "a whole number"),
        (lambda: fields.whole("n", low=3), "from 3 to"),
        (lambda: fields.number("r", low=0.5, above=True), "a number above 0.5 is due"),
        (lambda: fields.number("n", low=0.0, high=1.0), "from 0 to 1"),
        (lambda: fields.numbers("l", count=3), "a list of 3 numbers"),
        (lambda: fields.flag("n"), "true or false"),
        (lambda: fields.table("d").whole("k"), "c.json, d has k 'v'"),
        (lambda: fields.text("none"), "c.json lacks none; "),
        (lambda: Fields.of([1], "c.json"), "c.json holds a list"),
    ):
        with pytest.raises(BadInput, match=words):
            take()
