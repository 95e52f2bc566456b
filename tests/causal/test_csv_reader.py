import gzip
import io
import itertools
import sys
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare

from intaglio.causal.tables import csv_reader
from intaglio.causal.tables.csv_reader import read_table_file
from intaglio.causal.tables.row_sample import RowSample
from intaglio.causal.tables.table import Table
from intaglio.errors import BadInput

N = 60


def frame(rows: int = N) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "dose": random.standard_normal(rows),
            "income (€)": random.standard_normal(rows) * 1e4,
            "grade": random.integers(0, 4, rows),
            "place": random.choice(["Köln", "Aix, Provence", "Rom"], rows),
        }
    )


TEXT = frame().to_csv(index=False)
LINES = TEXT.splitlines()


@pytest.fixture
def load(tmp_path):
    def loaded(content: bytes | str, name: str = "t.csv", **options) -> Table:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return Table.load(path, **options)

    return loaded


@pytest.fixture
def refusal(load, tmp_path):
    def refused(content: bytes | str, name: str = "t.csv", **options) -> str:
        with pytest.raises(BadInput) as error:
            load(content, name, **options)
        text = str(error.value)
        assert "\n" not in text
        assert not text.endswith(".")
        return text.replace(f"{tmp_path}/", "")

    return refused


# Formats


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        frame().to_csv(index=False, sep="\t"),
        frame().to_csv(index=False, sep=";"),
        frame().to_csv(index=False, sep=";", decimal=","),
        frame().to_csv(index=False, sep="\t", decimal=","),
        frame().to_csv(index=False, sep="|"),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        TEXT.replace("\n", "\n\n"),
        "\n \n" + TEXT,
        TEXT.replace(",", ", ").replace("Aix, ", "Aix,"),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.encode("utf-16"),
        gzip.compress(TEXT.encode()),
        TEXT.rstrip("\n"),
    ],
    ids=[
        "commas",
        "tabs",
        "semicolons",
        "decimal commas",
        "tabs and commas",
        "bars",
        "crlf",
        "cr",
        "blank lines",
        "blank first",
        "spaces",
        "mark",
        "utf-16",
        "gzip",
        "no last line end",
    ],
)
def test_text_files_of_all_sorts_say_what_the_frame_said(load, content):
    table = load(content)
    assert table.content_hash == Table.from_frame(frame()).content_hash
    assert table.levels == Table.from_frame(frame()).levels
    assert table.warnings == ()


def test_parquet_says_what_the_frame_said(tmp_path):
    pytest.importorskip("pyarrow")
    for index in (None, range(100, 100 + N)):
        frame().set_index(pd.Index(index) if index else frame().index).to_parquet(tmp_path / "t.parquet")
        assert Table.load(tmp_path / "t.parquet").content_hash == Table.from_frame(frame()).content_hash
    drawn = Table.load(tmp_path / "t.parquet", most_rows=20)
    assert (len(drawn), drawn.rows_seen) == (20, N)
    assert "t.parquet has 60 rows, 20 of them drawn (seed 0)" in drawn.warnings


def test_without_what_reads_parquet_it_says_so(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadInput, match=r"intaglio\[parquet\]"):
        load(b"PAR1 and so on", "t.parquet")


def test_a_broken_parquet_file_is_named(refusal):
    pytest.importorskip("pyarrow")
    assert refusal(b"PAR1 and so on", "t.parquet").startswith("t.parquet is no whole Parquet file")


def test_cells_of_a_file_are_typed_by_what_they_say(load):
    more = frame().assign(
        truth=[True, False, False] * 20,
        gaps=[1, 2, None] * 20,
        code=[f"{k % 7:05d}" for k in range(N)],
        eaten=["None", "much", "", "much"] * 15,
        marked=["?" if k % 9 == 0 else k / 7 for k in range(N)],
        big=10**18,
    )
    table = load(more.to_csv(index=False))
    kinds = dict(zip(table.names, table.kinds, strict=True))
    assert [kinds[name] for name in ("truth", "gaps", "code", "eaten", "marked")] == [
        "binary",
        "binary",
        "nominal",
        "binary",
        "continuous",
    ]
    fields = {name: index for index, name in enumerate(table.names)}
    assert set(table.levels[fields["eaten"]]) == {"None", "much"}
    assert "00000" in table.levels[fields["code"]]
    assert table.levels[fields["truth"]] == ("False", "True")
    assert table.isolated == ("big",)
    assert any("'marked'" in text and "'?'" in text for text in table.warnings)


def test_quotes_and_separators_inside_texts(load):
    words = ['say "so"', "a;b,c|d", "two\nlines", "tab\there"] * 15
    table = load(frame().assign(w=words).to_csv(index=False))
    assert set(table.levels[4]) == set(words)


def test_row_names_as_r_writes_them_are_left_out(load):
    table = load("\n".join([LINES[0], *(f'"{k}",{line}' for k, line in enumerate(LINES[1:], 1))]))
    assert table.content_hash == Table.from_frame(frame()).content_hash
    assert "rows' names" in table.warnings[0]


@pytest.mark.parametrize("header", [LINES[0], LINES[0] + ","])
def test_separators_at_the_ends_of_lines_make_no_column(load, header):
    table = load("\n".join([header, *(line + "," for line in LINES[1:])]))
    assert table.all_names == tuple(frame().columns)
    assert "field 5" in table.warnings[0]


def test_columns_without_a_name_are_named_by_their_place(load):
    table = load(TEXT.replace("dose", "", 1))
    assert table.names[0] == "Unnamed: 0"
    with pytest.raises(BadInput, match=r"'Unnamed: 0' numbers the rows"):
        load(frame().to_csv())
    assert load(frame().to_csv(), without="Unnamed: 0").all_names == tuple(frame().columns)


def test_one_column_is_read_and_said(load):
    table = load("a\n" + "\n".join(map(str, frame()["dose"])))
    assert table.names == ("a",)
    assert "t.csv has one column" in table.warnings[0]


# What cannot be read: the file, the line, the remedy


def archive(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return data.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("", "t.csv", ("t.csv is empty", "line of names")),
        ("\n\n  \n", "t.csv", ("t.csv is empty",)),
        (LINES[0], "t.csv", ("4 columns and no rows", "10 rows")),
        (gzip.compress(b""), "t.csv.gz", ("t.csv.gz is empty",)),
        ("\n".join(LINES[:8]), "t.csv", ("7 rows",)),
        ("\n".join([*LINES[:20], LINES[20] + ",7", *LINES[21:]]), "t.csv", ("line 21 of t.csv has 5 fields", "have 4")),
        ("\n".join([*LINES[:20], "1,2", *LINES[21:]]), "t.csv", ("line 21 of t.csv has 2 fields", "have 4")),
        ("\n".join([LINES[0], LINES[1] + ",7", *LINES[2:]]), "t.csv", ("line 2 of t.csv has 5 fields",)),
        ("\n".join([*LINES[:20], '1,2,3,"x', *LINES[21:]]), "t.csv", ("line 21 of t.csv has a quote", "double")),
        ("\n".join(["", *LINES[:20], "", "1,2"]), "t.csv", ("line 23 of t.csv has 2 fields",)),
        (TEXT.encode("latin-1", "replace"), "t.csv", (" of t.csv is not UTF-8", "0xf6", "Köln", "as UTF-8")),
        ("\n".join(LINES[1:]), "t.csv", ("first line of t.csv looks like values", "above it")),
        ("5.1,3.5,setosa\n" * 30 + "4.9,3,other\n" * 30, "t.csv", ("looks like values (5.1, 3.5, setosa)",)),
        ("u,v\nv,u\nu,u\nv,v\n" * 15, "t.csv", ("looks like values (u, v)", "names above")),
        (TEXT.replace("grade", "dose", 1), "t.csv", ("t.csv", "columns 1 and 3 are both named 'dose'", "rename")),
        (f"A study of 2020\n{TEXT}", "t.csv", ("'A study of 2020'", "4 columns", "delete")),
        (f"A study of 2020,,,\n,,,\n{TEXT}", "t.csv", ("'A study of 2020'", "4 columns", "delete")),
        (TEXT.replace('"Aix, Provence"', "Aix").replace(",", " "), "t.txt", ("spaces", "commas or tabs")),
        (archive("xl/workbook.xml"), "t.csv", ("t.csv is no whole workbook", "save it again")),
        (archive("t.csv"), "t.csv", ("a zip archive", "unpack")),
        (b"PK\x03\x04 and then nothing", "t.csv", ("a broken archive",)),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "t.csv", ("no whole workbook",)),
        (b"anything", "t.xlsx", ("no whole workbook", "the sheet as CSV")),
        ('[{"a": 1}]', "t.json", ("JSON", "CSV")),
        (b"\x80\x04\x95", "t.pkl", ("a pickle", "CSV")),
        (bytes(range(256)) * 30, "t.csv", ("does not hold text",)),
        (gzip.compress(bytes(100)), "t.csv", ("does not hold text",)),
        (gzip.compress(TEXT.encode() * 400)[:-500], "t.csv.gz", ("packed but broken", "pack it again")),
        (b"BZh9 and so on", "t.csv.bz2", ("packed in a way that is not read", "gzipped")),
        ("a;b\n" + "".join(f"1.{k}4,5;2\n{k},5;1\n" for k in range(10, 50)), "t.csv", ("column 'a'", "'1.104,5' (")),
    ],
    ids=itertools.count(),
)
def test_what_cannot_be_read_is_named_with_the_remedy(refusal, content, name, words):
    text = refusal(content, name)
    assert [word for word in words if word not in text] == []


CELLS = [
    "1",
    "2.5",
    "",
    "NA",
    "a",
    "x y",
    '"q"',
    '"a,b"',
    '"',
    "é",
    "2020-01-01",
    "inf",
    "1e400",
    "007",
    "1,5",
    "True",
    "TRUE",
    "?",
    "12 kg",
    "9" * 400,
    "\x00",
    "\ufeff",
    "\u2028",
    "½",
    "٣",
    "\\",
    "#",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_stands_in_a_file_ends_in_a_table_or_one_sentence(tmp_path, data):
    separator, end = data.draw(st.sampled_from(",;\t|")), data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    few = data.draw(st.lists(st.sampled_from(CELLS), min_size=1, max_size=4))
    width, rows = data.draw(st.integers(1, 4)), data.draw(st.integers(8, 20))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    lines = [[*map(str, random.standard_normal(width)), few[k % len(few)]] for k in range(rows)]
    if data.draw(st.booleans()):
        del lines[data.draw(st.integers(0, rows - 1))][0]
    names = [f"c{k}" for k in range(width + 1)]
    text = end.join(separator.join(line) for line in [names, *lines])
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(data.draw(st.sampled_from(["utf-8", "utf-16", "latin-1"])), "replace"))
    try:
        table = Table.load(path)
    except BadInput as error:
        said = str(error)
    else:
        said = ""
        assert not np.isinf(table.values).any()
        assert set(table.names) <= set(names)
    assert "\n" not in said


def test_files_that_are_not_there(tmp_path):
    for path, words in ((tmp_path / "no.csv", "no.csv is not there"), (tmp_path, "is a folder")):
        with pytest.raises(BadInput, match=words):
            Table.load(path)


def test_too_few_rows_to_draw(refusal):
    assert "--rows" in refusal(TEXT, most_rows=9)


def test_errors_far_into_a_file_are_found(refusal, monkeypatch):
    monkeypatch.setattr(csv_reader, "CELLS_PER_PIECE", 4000)
    lines = frame(6000).to_csv(index=False).splitlines()
    assert "line 5001 " in refusal("\n".join([*lines[:5000], "1,2,3,4,5", *lines[5001:]]))
    assert "line 5001 " in refusal("\n".join([*lines[:5000], "1,2,3", *lines[5001:]]))
    broken = "\n".join(lines).encode().replace("Köln".encode(), b"K\xf6ln")
    assert "0xf6" in refusal(broken)
    infinite = "\n".join([*lines[:5000], "inf,2,3,Rom", *lines[5001:]])
    assert "'dose' has an infinite value in data row 5000" in refusal(infinite)


def test_an_identifier_is_one_in_a_draw_too(refusal):
    text = frame(3000).reset_index(names="nth").to_csv(index=False)
    assert "column 'nth' numbers the rows" in refusal(text, most_rows=50)


def test_a_name_that_looks_like_a_value_is_noted(load):
    table = load(TEXT.replace("dose", "17", 1))
    assert table.warnings[0].startswith("'17' in the first line of t.csv looks like a value")


# Many rows


def test_a_file_says_the_same_whatever_pieces_it_is_read_in(tmp_path):
    long = frame(9000).assign(late=[*range(8000), *["x"] * 1000], truth=["True"] * 5000 + ["True", "False"] * 2000)
    path = tmp_path / "t.csv"
    long.assign(gap=[None] * 4000 + [1.5] * 5000).to_csv(path, index=False)
    whole = read_table_file(path, 9000)
    for rows in (9000, 500):
        big = read_table_file(path, rows, 3)
        small = read_table_file(path, rows, 3, piece=1000)
        assert big.rows.tolist() == small.rows.tolist() == sorted(set(big.rows.tolist()))
        pd.testing.assert_frame_equal(big.frame, small.frame, check_dtype=False)
        same = whole.frame.iloc[big.rows].reset_index(drop=True)
        pd.testing.assert_frame_equal(big.frame.astype(str), same.astype(str))
        assert (big.rows_seen, big.warnings) == (small.rows_seen, small.warnings)


def test_a_draw_is_said_seeded_and_in_order(load):
    text = frame(3000).assign(nth=np.arange(3000) / 7).to_csv(index=False)
    table = load(text, most_rows=500, seed=1)
    assert "t.csv has 3,000 rows, 500 of them drawn (seed 1)" in table.warnings
    assert (len(table), table.rows_seen) == (500, 3000)
    nth = table.values[:, table.names.index("nth")]
    assert (np.diff(nth) > 0).all()
    assert load(text, most_rows=500, seed=1).content_hash == table.content_hash
    assert load(text, most_rows=500, seed=2).content_hash != table.content_hash
    assert not any("drawn" in said for said in load(text, most_rows=3000).warnings)


def drawn(rows: int, most: int, seed: int, pieces: int = 1) -> list[int]:
    draw = RowSample(most, seed)
    for fields in np.array_split(np.arange(rows), pieces):
        draw.add(pd.DataFrame({"k": fields}))
    frames, fields = draw.pieces()
    assert pd.concat(frames)["k"].tolist() == fields.tolist()
    assert draw.seen == rows
    return fields.tolist()


@pytest.mark.parametrize("pieces", [1, 2, 7, 40])
def test_a_draw_does_not_depend_on_the_pieces(pieces):
    for most, seed in itertools.product((1, 3, 20, 59, 60, 100), range(8)):
        found = drawn(60, most, seed, pieces)
        assert found == drawn(60, most, seed)
        assert len(found) == min(most, 60)


def test_every_part_of_a_long_stream_is_drawn_from_alike():
    counts = sum(np.bincount(np.array(drawn(20_000, 4000, seed, 9)) // 500, minlength=40) for seed in range(5))
    # A draw without replacement spreads less than independent ones, by the share of rows that it leaves.
    statistic = chisquare(counts).statistic / (1 - 4000 / 20_000)
    assert chi2.ppf(0.005, 39) < statistic < chi2.ppf(0.995, 39)


def test_every_row_and_every_pair_of_rows_is_as_likely():
    trials, rows, most = 400, 10, 4
    counts = np.zeros((rows, rows))
    for seed in range(trials):
        fields = drawn(rows, most, seed, 2)
        counts[np.ix_(fields, fields)] += 1
    each = np.diag(counts)
    assert each.sum() == trials * most
    statistic = chisquare(each).statistic * (rows - 1) / (rows - most)
    assert chi2.ppf(0.005, rows - 1) < statistic < chi2.ppf(0.995, rows - 1)
    pairs = counts[np.triu_indices(rows, 1)]
    assert pairs.mean() == trials * most * (most - 1) / (rows * (rows - 1))
    assert (np.abs(pairs - pairs.mean()) < 4.5 * np.sqrt(pairs.mean())).all()


def test_a_long_file_is_never_held_whole(tmp_path):
    path = tmp_path / "long.csv"
    block = pd.DataFrame(np.random.default_rng(0).standard_normal((2000, 8))).to_csv(index=False, header=False).encode()
    with path.open("wb") as file:
        file.write(b"a,b,c,d,e,f,g,h\n")
        while file.tell() < 30_000_000:
            file.write(block)
    tracemalloc.start()
    try:
        source = read_table_file(path, 1000, piece=50_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert source.rows_seen % 2000 == 0
    assert source.rows_seen > 150_000
    assert len(source.frame) == 1000
    assert peak < path.stat().st_size / 5
    assert source.rows_seen * 8 * 8 > 2 * peak  # what its numbers alone would take


def test_decimal_commas_stand_beside_marks_for_gaps(load):
    given = np.random.default_rng(3).normal(size=(80, 2)).round(3)
    lines = [f"{x:.3f};{y:.3f}".replace(".", ",") for x, y in given]
    lines[7], lines[40] = "?;0,500", "1,250;-"
    table = load("price;rent\n" + "\n".join(lines) + "\n")
    given[7], given[40] = (np.nan, 0.5), (1.25, np.nan)
    assert table.kinds == ("continuous", "continuous")
    np.testing.assert_array_equal(table.values, given)


def test_levels_with_a_comma_among_other_texts_stay_as_they_are(load):
    lines = [f"{k / 7:.3f};{('0,5', 'low', 'high')[k % 3]}".replace(".", ",") for k in range(60)]
    table = load("x;dose\n" + "\n".join(lines) + "\n")
    assert set(table.levels[1]) == {"0,5", "low", "high"}
