"""Tables as others write them: texts that mean a gap or a name, signs, Excel's first line, labels, pipes."""

import gzip
import io
import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from intaglio import SiCL
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.tables import table_file
from intaglio.causal.tables.table import Table
from intaglio.cli import main
from intaglio.errors import BadInput
from intaglio.files import file_hash

N = 60
LANDS = ["NA", "DE", "FR", "US"] * 15


def land(words=LANDS) -> pd.DataFrame:
    return pd.DataFrame({"country": words, "y": np.random.default_rng(0).permutation(len(words)) / 7})


def load(tmp_path, text: str, **options) -> Table:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return Table.load(tmp_path / "t.csv", **options)


def gaps(table: Table, name: str = "country") -> int:
    return int(np.isnan(table.values[:, table.names.index(name)]).sum())


# NA that is a name


@pytest.mark.parametrize("word", ["NA", "N/A", "NULL", "null", "nan", "NaN", "<NA>"])
def test_in_a_frame_of_texts_a_text_is_a_text(word):
    words = [word if w == "NA" else w for w in LANDS]
    for kinds in ({}, {"country": "nominal"}):
        table = Table.from_frame(land(words), kinds=kinds)
        assert (gaps(table), word in table.levels[0]) == (0, True)
        noted = [text for text in table.warnings if f"'country' has {word!r} as a level" in text]
        assert len(noted) == (not kinds)
    assert gaps(Table.from_frame(land([None if w == word else w for w in words]))) == 15


def test_among_numbers_it_is_a_gap_everywhere(tmp_path):
    numbers = ["NA" if k % 4 == 0 else f"{k / 7:.3f}" for k in range(N)]
    for table in (Table.from_frame(land(numbers)), load(tmp_path, land(numbers).to_csv(index=False))):
        assert (gaps(table), table.kinds[0]) == (15, "continuous")
        assert not any("NA" in text for text in table.warnings)
    with_mark = Table.from_frame(land(["?" if k % 8 == 0 else n for k, n in enumerate(numbers)]))
    assert gaps(with_mark) == 15
    for kind in ("ordinal", "continuous"):
        table = Table.from_frame(land([["NA", "1", "2", "3"][k % 4] for k in range(N)]), kinds={"country": kind})
        assert gaps(table) == 15


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("kinds", [{}, {"country": "nominal"}])
def test_in_a_file_it_is_a_gap_with_a_note_and_can_be_kept(tmp_path, quoted, kinds):
    text = land().to_csv(index=False, quoting=1 if quoted else 0)
    table = load(tmp_path, text, kinds=kinds)
    (note,) = table.warnings
    assert "'NA' are read as missing in columns of texts: 'country' (15 cells)" in note
    assert "--texts" in note
    assert gaps(table) == 15
    kept = load(tmp_path, text, kinds=kinds, texts=["country"])
    assert (gaps(kept), sorted(kept.levels[0]), kept.warnings) == (0, ["DE", "FR", "NA", "US"], ())
    assert kept.content_hash == Table.from_frame(land()).content_hash


def test_columns_share_one_note_and_empty_cells_need_none(tmp_path):
    both = land().assign(code=["null", "a", "b", "c", "c"] * 12, truth=["True", "False", "NA"] * 20)
    table = load(tmp_path, both.to_csv(index=False))
    (note,) = table.warnings
    assert "'NA', 'null'" in note
    assert "'country' (15 cells), 'code' (12 cells)" in note
    assert load(tmp_path, land(["", "DE", "FR", "US"] * 15).to_csv(index=False)).warnings == ()
    late = ["DE", "FR", "US"] * 19 + ["NA", "DE", "FR"]
    assert gaps(load(tmp_path, land(late).to_csv(index=False))) == 1
    far = ["1", "2"] * 70_000 + ["NA", "a"] * 1000
    assert "'NA' are read as missing" in load(tmp_path, land(far).to_csv(index=False), most_rows=10**6).warnings[-1]
    with pytest.raises(BadInput, match="'contry' \\(--texts\\) is no column; near are 'country'"):
        load(tmp_path, land().to_csv(index=False), texts="contry")


@pytest.mark.parametrize("code", [-999, -99, 9999, 99])
def test_numbers_that_stand_for_gaps_are_noted(code):
    values = np.where(np.arange(N) % 10 == 0, code, np.random.default_rng(0).standard_normal(N))
    (note,) = Table.from_frame(pd.DataFrame({"x": values})).warnings
    assert f"'x' holds {code} in 6 cells, far from all its other numbers" in note
    for let_be in (np.arange(N) * 1.7 + code - 3, np.where(np.arange(N) == 5, code, values * (values != code))):
        assert Table.from_frame(pd.DataFrame({"x": let_be})).warnings == ()


def test_a_repeated_code_gets_its_note_nearer_than_a_single_one():
    values = 100 * np.random.default_rng(0).standard_normal(300)
    coded = np.where(np.arange(300) % 9 == 0, -999, values)
    (note,) = Table.from_frame(pd.DataFrame({"x": coded})).warnings
    assert "'x' holds -999 in 34 cells, far from all its other numbers" in note
    twice = np.where(np.arange(300) % 200 == 0, -999, values)
    assert Table.from_frame(pd.DataFrame({"x": twice})).warnings == ()
    assert Table.from_frame(pd.DataFrame({"x": np.minimum(values + 900, 999)})).warnings == ()  # an end of a scale


# Names


def test_names_that_look_the_same_are_refused_as_equal(tmp_path):
    lines = [",".join(map(str, row)) for row in np.random.default_rng(0).standard_normal((N, 3)).round(3)]
    with pytest.raises(BadInput, match="columns 1 and 2 are both named .*, in two Unicode forms that look the same"):
        load(tmp_path, "\n".join(["\u00e9,e\u0301,c", *lines]))


@pytest.mark.parametrize("words", [False, True])
def test_a_second_line_of_names_is_told(tmp_path, words):
    lines = [",".join(map(str, row)) for row in np.random.default_rng(0).standard_normal((N, 2)).round(3)]
    lines = [f"{line},{'ab'[k % 2] if words else k % 7}" for k, line in enumerate(lines)]
    with pytest.raises(BadInput, match="data row 41 of .*t.csv is the line of names again, as where two files"):
        load(tmp_path, "\n".join(["x,y,z", *lines[:40], "x,y, z", *lines[40:]]))


# Signs, separators, labels


@pytest.mark.parametrize("minus", ["\u2212", "\u2013", "\u2010", "\ufe63", "\uff0d"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_numbers_have_any_minus_sign(tmp_path, minus, decimal):
    plain = pd.DataFrame(np.random.default_rng(0).standard_normal((N, 2)).round(3), columns=["a", "b"])
    lines = [";".join(f"{x:.3f}" for x in row) for row in plain.to_numpy()]
    text = "\n".join(["a;b", *lines]).replace("-", minus).replace(".", decimal)
    table = load(tmp_path, text)
    assert table.kinds == ("continuous", "continuous")
    assert np.array_equal(table.values, plain.to_numpy())
    assert np.array_equal(Table.from_frame(land([f"{minus}{k}.5" for k in range(N)])).values[:, 0], -np.arange(N) - 0.5)


def test_ranges_with_a_dash_stay_texts(tmp_path):
    ages = ["20\u201329", "30\u201339", "40\u201349", "\u2013"] * 15
    assert Table.from_frame(land(ages)).kinds[0] == "nominal"


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "sep=;\r"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_separator_that_excel_is_told_is_followed(tmp_path, first, packed):
    numbers = np.random.default_rng(0).standard_normal((N, 3)).round(3)
    text = "\n".join([first, "a,x;b;c", *(";".join(map(str, row)) for row in numbers)])
    (tmp_path / "t.csv").write_bytes(gzip.compress(text.encode()) if packed else text.encode("utf-8-sig"))
    table = Table.load(tmp_path / "t.csv")
    assert table.names == ("a,x", "b", "c")
    assert np.array_equal(table.values, numbers)
    lines = text.split("\n")
    short = "\n".join([*lines[:22], "1;2", *lines[22:]])
    with pytest.raises(BadInput, match="line 23 of .*has 2 fields"):
        load(tmp_path, short)


def test_labels_are_taken_by_their_text(tmp_path):
    values = np.random.default_rng(0).standard_normal((40, 3)).round()
    numbered = pd.DataFrame(values, columns=[3, 5, 8])
    table = Table.from_frame(numbered, kinds={3: "continuous", "5": "nominal"}, without=[8])
    assert (table.names, table.kinds) == (("3", "5"), ("continuous", "nominal"))
    assert Table.from_frame(values, kinds={0: "continuous", "x1": "nominal"}).kinds == (
        "continuous",
        "nominal",
        "ordinal",
    )
    levels = pd.DataFrame(values, columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]))
    assert Table.from_frame(levels, kinds={("a", 2): "continuous"}).kinds[1] == "continuous"
    (tmp_path / "known.json").write_text('{"forbidden": [[3, 5]], "tiers": [[3], [5, 8]]}')
    known = Knowledge.load(tmp_path / "known.json")
    assert (known.forbidden, known.tiers) == ((("3", "5"),), (("3",), ("5", "8")))
    found = SiCL()(numbered, kinds={5: "continuous"}, knowledge=known)
    assert found.names == ("3", "5", "8")
    with pytest.raises(BadInput, match="4 \\(--kinds\\)|'4' \\(--kinds\\)"):
        Table.from_frame(numbered, kinds={4: "nominal"})


# Pipes and what is no file


def piped(tmp_path, content: bytes) -> Path:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with suppress(BrokenPipeError), pipe.open("wb") as file:  # a table that is refused is not read to its end
            file.write(content)

    threading.Thread(target=write, daemon=True).start()
    return pipe


@pytest.mark.parametrize("packed", [False, True])
def test_a_table_comes_through_a_pipe_once(tmp_path, packed):
    numbers = pd.DataFrame(np.random.default_rng(0).standard_normal((5000, 4)), columns=list("abcd"))
    content = numbers.to_csv(index=False).encode()
    (tmp_path / "t.csv").write_bytes(gzip.compress(content, mtime=0) if packed else content)
    table = Table.load(piped(tmp_path, (tmp_path / "t.csv").read_bytes()))
    assert table.content_hash == Table.load(tmp_path / "t.csv").content_hash
    assert table.pipe_hash == file_hash(tmp_path / "t.csv")
    assert Table.load(tmp_path / "t.csv").pipe_hash == ""


def test_what_is_wrong_with_a_piped_table_names_the_pipe(tmp_path):
    text = "\n".join(["a,b,c", *["1.5,2,3"] * 11, "1,2", *["1.5,2,4"] * 20])
    pipe = piped(tmp_path, text.encode())
    with pytest.raises(BadInput, match="line 13 of .*pipe has 2 fields"):
        Table.load(pipe)


def test_a_pipe_that_nothing_writes_into_and_devices_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, "WRITER_S", 0.05)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for path, words in (
        (tmp_path / "pipe", "is a pipe that nothing writes into"),
        (tmp_path / "zero", "is a device"),
        (tmp_path, "is a folder; give the file of the table"),
        (tmp_path / "none.csv", "is not there"),
        ("a\0b", "holds a NUL"),
    ):
        with pytest.raises(BadInput, match=words):
            Table.load(path)


def test_an_endless_pipe_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, "LARGEST_PIPE", 1 << 16)
    monkeypatch.setattr(table_file, "PIECE", 1 << 12)
    with pytest.raises(BadInput, match="gives more than"):
        Table.load(piped(tmp_path, b"x" * (1 << 17)))


def test_a_field_of_300_000_letters_is_one_sentence(tmp_path):
    frame = land().assign(note="x")
    frame.loc[30, "note"] = "y" * 300_000
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False)
    try:
        table = load(tmp_path, buffer.getvalue())
    except BadInput as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right
    else:
        assert len(table) == N


def test_the_command_takes_a_pipe_and_finds_the_run_of_the_file(tmp_path):
    numbers = pd.DataFrame(np.random.default_rng(0).standard_normal((300, 3)), columns=list("abc"))
    numbers.to_csv(tmp_path / "t.csv", index=False)
    pipe = piped(tmp_path, (tmp_path / "t.csv").read_bytes())
    for table in (pipe, tmp_path / "t.csv"):
        assert main(["discover", "sicl", str(table), "--runs", str(tmp_path / "runs"), "--quiet"]) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 1
