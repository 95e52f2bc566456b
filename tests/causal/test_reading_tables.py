"""Missing codes, encodings, thousands, currencies, ordered levels, blank ends and workbooks."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from intaglio import cli
from intaglio.causal.tables.csv_reader import header_names, read_table_file
from intaglio.causal.tables.table import Table
from intaglio.causal.tables.table_reading import TableReading
from intaglio.causal.tables.written_numbers import read_written
from intaglio.commands.causal.words import kinds_from, missing_from
from intaglio.errors import BadInput

N = 60
DOSE = np.random.default_rng(0).standard_normal(N).round(6)


def table(column, **options):
    return Table.from_frame(pd.DataFrame({"dose": DOSE, "x": column}), **options)


def load(tmp_path, column, *, lines=(), encoding="utf-8", separator=",", **options):
    text = [f"dose{separator}x", *(f'{a}{separator}"{b}"' for a, b in zip(DOSE, column, strict=True)), *lines]
    (tmp_path / "t.csv").write_bytes("\n".join(text).encode(encoding))
    return Table.load(tmp_path / "t.csv", **options)


def values(found):
    return found.values[:, found.names.index("x")].tolist()


@pytest.mark.parametrize(
    ("column", "codes"),
    [
        ([k % 5 + 1 if k % 10 else 99 for k in range(N)], {"99": 6}),
        ([k % 5 + 1 if k % 10 else 98 + k % 20 // 10 for k in range(N)], {"98": 3, "99": 3}),
        ([k / 7 if k % 10 else 9999 for k in range(N)], {"9999": 6}),
        ([20 + k / 7 if k % 10 else -999 for k in range(N)], {"-999": 6}),
        ([k % 5 + 1 if k % 10 else 9 for k in range(N)], {"9": 6}),
        ([k % 10 for k in range(N)], {}),
        ([90 + k % 10 for k in range(N)], {}),
        ([k % 2 * 9 for k in range(N)], {}),
    ],
)
def test_codes_far_from_a_scale_are_asked_about_and_stay_numbers(column, codes):
    found = table(column)
    assert len(found.warnings) == len(codes)
    for code, cells in codes.items():
        (note,) = [one for one in found.warnings if f"'x' holds {code} in {cells} cells" in one]
        assert f"(--missing x={code})" in note
    assert not np.isnan(found.values).any(), "never taken for missing silently"


def test_what_the_user_says_is_missing_is(tmp_path):
    column = [k % 5 + 1 if k % 10 else 99 for k in range(N)]
    for asked in (("x", "99"), ("", "99.0"), ("x", "099")):
        found = load(tmp_path, column, reading=TableReading(missing=(asked,)))
        assert np.flatnonzero(np.isnan(values(found))).tolist() == list(range(0, N, 10))
        assert found.warnings == (f"{asked[1]} is read as missing: 'x' (6 cells)",)
        assert found.levels[1] == ("1", "2", "3", "4", "5")
    unused = load(tmp_path, column, reading=TableReading(missing=(("dose", "99"),)))
    assert "99 (--missing) is not in column 'dose'" in unused.warnings
    words = load(tmp_path, ["a", "b", "gone"] * 20, reading=TableReading(missing=(("", "gone"),)))
    assert int(np.isnan(words.values).sum()) == 20
    with pytest.raises(BadInput, match=r"'y' \(--missing\) is no column"):
        load(tmp_path, column, reading=TableReading(missing=(("y", "1"),)))
    assert missing_from(["a=b=-9", "-999"]) == (("a=b", "-9"), ("", "-999"))
    with pytest.raises(BadInput, match="--missing takes a code"):
        missing_from(["age="])


@pytest.mark.parametrize(
    ("words", "thousands", "expected"),
    [
        (["$1,200", "$3"], "", [1200, 3]),
        (["$1,200.5", "-$3"], "", [1200.5, -3]),
        (["€ 3.50", "€ 12.25"], "", [3.5, 12.25]),
        (["3,50 €", "1.200,25 €"], "", [3.5, 1200.25]),
        (["12 %", "7.5%"], "", [12, 7.5]),
        (["€ 1,200", "€ 3"], "", None),
        (["€ 1.200", "€ 3.500"], "", None),
        (["$5", "€5"], "", None),
        (["1,200", "300"], "", None),
        (["1,200", "300", "0.5"], ",", [1200, 300, 0.5]),
        (["1.200", "300,5"], ".", [1200, 300.5]),
        (["1.20", "300"], ".", [None, 300]),
        (["5 mg", "3 mg"], "", None),
    ],
)
def test_numbers_are_read_as_people_write_them(words, thousands, expected):
    found = read_written(words, thousands)
    assert (None if found is None else list(found.numbers)) == expected


def test_currencies_and_shares_are_numbers_with_a_note(tmp_path):
    prices = load(tmp_path, [f"${1000 + k:,}" for k in range(N - 1)] + ["?"])
    assert values(prices)[:-1] == [1000 + k for k in range(N - 1)]
    assert np.isnan(values(prices)[-1])
    assert any("is read as numbers without the $" in note for note in prices.warnings)
    shares = [k * 7 % 41 for k in range(N)]
    assert values(table([f"{k} %" for k in shares])) == shares
    german = load(tmp_path, [f"€ {k},25" for k in range(N)], separator=";")
    assert values(german) == [k + 0.25 for k in range(N)]
    named = table([f"{k % 3} %" for k in range(N)], kinds={"x": "nominal"})
    assert set(named.levels[1]) == {"0 %", "1 %", "2 %"}


def test_thousands_are_read_where_they_are_named(tmp_path):
    column = [f"{1000 + k:,}" for k in range(N)]
    with pytest.raises(BadInput, match="--thousands ,"):
        load(tmp_path, column)
    assert values(load(tmp_path, column, reading=TableReading(thousands=","))) == [1000 + k for k in range(N)]
    dots = [word.replace(",", ".") for word in column]
    with pytest.raises(BadInput, match="column 'dose' holds .* no number with '.' between thousands"):
        load(tmp_path, dots, reading=TableReading(thousands="."))
    found = load(tmp_path, dots, reading=TableReading(thousands="."), without=["dose"])
    assert values(found) == [1000 + k for k in range(N)]


def test_encodings_are_named(tmp_path):
    column = ["Köln", "Rom", "Wien"] * 20
    with pytest.raises(BadInput, match="--encoding latin-1"):
        load(tmp_path, column, encoding="latin-1")
    expected = set(column)
    assert set(load(tmp_path, column, encoding="latin-1", reading=TableReading("latin-1")).levels[1]) == expected
    assert set(load(tmp_path, column, encoding="utf-16-le", reading=TableReading("utf-16-le")).levels[1]) == expected
    for wrong in ("zip", "klingon"):
        with pytest.raises(BadInput, match="--encoding"):
            TableReading(wrong)
    with pytest.raises(BadInput, match="is not text in ascii"):
        load(tmp_path, column, reading=TableReading("ascii"))


def test_levels_in_the_order_of_the_user():
    moods = [("good", "bad", "ok")[k % 3] for k in range(N)]
    found = table(moods, kinds=kinds_from(["x=bad < ok<good"]))
    assert (found.kinds[1], found.levels[1]) == ("ordinal", ("bad", "ok", "good"))
    assert values(found)[:3] == [2, 0, 1]
    numbers = table([k % 3 for k in range(N)], kinds={"x": "2<0<1"})
    assert values(numbers)[:3] == [1, 2, 0]
    with pytest.raises(BadInput, match=r"also holds 'good': .*--kinds"):
        table(moods, kinds={"x": "bad<ok"})
    with pytest.raises(BadInput, match="no kind"):
        table(moods, kinds={"x": "bad<bad<ok"})
    assert kinds_from(["x=<30<30-60<>=60"]) == {"x": "<30<30-60<>=60"}


def test_blank_ends_are_left_out_with_a_note(tmp_path):
    full = load(tmp_path, range(1, N + 1), kinds={"x": "continuous"})
    text = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join([*(f"{line},," for line in text), ",,,", " ,, ,", ""]))
    found = Table.load(tmp_path / "t.csv", kinds={"x": "continuous"})
    assert found.content_hash == full.content_hash
    assert "2 rows without a value stand at the end and are left out" in found.warnings
    assert any("neither name nor value" in note for note in found.warnings)
    (tmp_path / "t.csv").write_text("\n".join([*text[:30], ",", *text[30:], ","]))
    for piece in (1, 10**6):
        assert read_table_file(tmp_path / "t.csv", piece=piece).rows_seen == N + 1, "one between others is a row"


def workbook(*sheets):
    """A workbook of the least parts, with (name, rows) for each sheet; a pair in a row is (formula, stored value)."""
    data = io.BytesIO()
    main, relations = "http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://schemas.openxmlformats.org"
    head, kind = '<?xml version="1.0"?>', f"{relations}/officeDocument/2006/relationships"
    listed = "".join(f'<sheet name="{name}" sheetId="{k}" r:id="r{k}"/>' for k, (name, _) in enumerate(sheets, 1))
    places = "".join(
        f'<Relationship Id="r{k}" Type="{kind}/worksheet" Target="worksheets/sheet{k}.xml"/>'
        for k in range(1, len(sheets) + 1)
    )
    with zipfile.ZipFile(data, "w") as file:
        file.writestr(
            "_rels/.rels",
            f'{head}<Relationships xmlns="{relations}/package/2006/relationships"><Relationship Id="r1" '
            f'Type="{kind}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml", f'{head}<workbook xmlns="{main}" xmlns:r="{kind}"><sheets>{listed}</sheets></workbook>'
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels",
            f'{head}<Relationships xmlns="{relations}/package/2006/relationships">{places}</Relationships>',
        )
        for k, (_, rows) in enumerate(sheets, 1):
            body = "".join(
                f'<row r="{y}">{"".join(cell(value, f"{chr(65 + x)}{y}") for x, value in enumerate(row))}</row>'
                for y, row in enumerate(rows, 1)
            )
            file.writestr(
                f"xl/worksheets/sheet{k}.xml",
                f'{head}<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>',
            )
    return data.getvalue()


def cell(value, place):
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'
    formula, stored = value if isinstance(value, tuple) else (None, value)
    return f'<c r="{place}">{f"<f>{formula}</f>" if formula else ""}<v>{stored}</v></c>'


def test_sheets_of_workbooks_are_read_as_the_text_would_be(tmp_path):
    pytest.importorskip("python_calamine")
    places = ["Aix, Provence", "Rom", "Köln; Süd"] * 20
    rows = [["dose", "x"], *([(f"{a}*1", a), b] for a, b in zip(DOSE, places, strict=True))]
    path = tmp_path / "t.xlsx"
    path.write_bytes(workbook(("first", rows)))
    found = Table.load(path)
    assert found.content_hash == load(tmp_path, places).content_hash
    assert found.warnings == ()
    path.write_bytes(workbook(("notes", [["nothing"]]), ("data", rows)))
    assert Table.load(path, reading=TableReading(sheet="data")).content_hash == found.content_hash
    with pytest.raises(BadInput, match=r"no sheet 'date' \(--sheet\); its sheets are 'notes', 'data'"):
        Table.load(path, reading=TableReading(sheet="date"))
    path.write_bytes(workbook(("data", rows), ("notes", [["nothing"]])))
    assert "has 2 sheets, and the first, 'data', is read (others: 'notes'; --sheet)" in Table.load(path).warnings[0]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadInput, match="no whole workbook"):
        Table.load(path)
    with pytest.raises(BadInput, match="leave --sheet out"):
        Table.load(tmp_path / "t.csv", reading=TableReading(sheet="data"))


def test_names_are_checked_by_the_first_line_alone(tmp_path, capsys):
    load(tmp_path, range(N), without=["x"])
    path = tmp_path / "t.csv"
    assert header_names(path) == ("dose", "x")
    with path.open("a") as file:
        file.write("1,2,3,4\n")  # found only by reading all of it
    for words, said in (
        (("--without", "dos"), "'dos' (--without) is no column"),
        (("--kinds", "y=nominal"), "'y' (--kinds) is no column"),
        (("--tiers", "dose;z"), "'z' (--tiers) is no column"),
        (("--missing", "-999", "y=99"), "'y' (--missing) is no column"),
        (("--require", "dose->w"), "there is no column 'w'"),
    ):
        assert cli.main(["discover", str(path), "--runs", str(tmp_path / "runs"), *words]) == 2
        assert said in capsys.readouterr().err
