import hashlib
import itertools
import string
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from intaglio.causal.tables.column import MAX_LEVELS
from intaglio.causal.tables.redundancy import copy_groups, determined_columns
from intaglio.causal.tables.table import Table
from intaglio.errors import BadInput

N = 120


def rng(seed=0):
    return np.random.default_rng(seed)


def frame(**columns) -> pd.DataFrame:
    """Two columns of numbers that are none of the tests' business, and those given."""
    random = rng(9)
    return pd.DataFrame({"a": random.standard_normal(N), "b": random.standard_normal(N), **columns})


def read(column, **options) -> Table:
    return Table.from_frame(frame(x=column), **options)


def kind(column, **options) -> str:
    table = read(column, **options)
    return table.kinds[table.names.index("x")]


def levels(column, **options) -> tuple[str, ...]:
    table = read(column, **options)
    return table.levels[table.names.index("x")]


def codes(column, **options) -> list[float]:
    table = read(column, **options)
    return table.values[:, table.names.index("x")].tolist()


def refusal(given, **options) -> str:
    with pytest.raises(BadInput) as error:
        Table.from_frame(given, **options)
    text = str(error.value)
    assert "\n" not in text
    assert not text.endswith(".")
    return text


def warned(table: Table, *words: str) -> bool:
    return any(all(word in text for word in words) for text in table.warnings)


# Kinds and codes


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (rng().standard_normal(N), "continuous"),
        (rng().standard_normal(N).astype(np.float32), "continuous"),
        (rng().random(N) < 0.5, "binary"),
        (pd.array([True, False, None] * 40, dtype="boolean"), "binary"),
        ([True, None, False] * 40, "binary"),
        (np.tile([0.25, 0.75], 60), "binary"),
        (np.tile([3, 7], 60), "binary"),
        (["yes", "no"] * 60, "binary"),
        (["a", "b", "c"] * 40, "nominal"),
        (pd.Categorical(["a", "b", "c"] * 40), "nominal"),
        (pd.Categorical(["a", "b"] * 60), "binary"),
        (pd.Categorical(["lo", "hi", "mid"] * 40, ["lo", "mid", "hi"], ordered=True), "ordinal"),
        (np.arange(N) % 10, "ordinal"),
        (np.arange(N) % 11, "continuous"),
        ((np.arange(N) % 5).astype(np.uint8), "ordinal"),
        (np.where(np.arange(N) % 7, np.arange(N) % 5, np.nan), "ordinal"),
        (pd.array([*range(5), None] * 20, dtype="Int64"), "ordinal"),
        ((np.arange(N) % 5) / 2, "continuous"),
        ([Decimal(k % 30) / 3 for k in range(N)], "continuous"),
        (["1", "2", "3"] * 40, "nominal"),
        ([str(k / 7) for k in rng().permutation(N)], "continuous"),
        ([1, "a", 2.5] * 40, "nominal"),
        (pd.cut(rng().standard_normal(N), 4), "ordinal"),
    ],
)
def test_the_kind_of_a_column_is_found_out(column, expected):
    assert kind(column) == expected


def test_codes_go_by_frequency_ties_by_text_and_by_value_where_there_is_an_order():
    column = ["c"] * 60 + ["b"] * 20 + ["a"] * 20 + [None] * 20
    assert levels(column) == ("c", "a", "b")
    expected = [0.0] * 60 + [2.0] * 20 + [1.0] * 20
    assert codes(column)[:100] == expected
    assert np.isnan(codes(column)[100:]).all()
    assert levels([9, 10, 9, 2] * 30) == ("2", "9", "10")
    assert codes([9, 10, 9, 2] * 30)[:4] == [1.0, 2.0, 1.0, 0.0]
    grades = pd.Categorical(["lo", "hi", "top", None] * 30, ["none", "lo", "mid", "hi", "top"], ordered=True)
    assert levels(grades, kinds={"x": "ordinal"}) == ("lo", "hi", "top")
    assert levels([True, True, False] * 40) == ("True", "False")
    assert levels(np.tile([0.5, 0.5, 2.0], 40)) == ("0.5", "2")


def test_missing_values_of_all_sorts_are_nan():
    for column in (
        [1.5, None, 2.5, np.nan, 3.25] * 24,
        pd.array([1.5, pd.NA, 2.5, pd.NA, 3.25] * 24, dtype="Float64"),
        pd.Series([1.5, pd.NA, 2.5, None, 3.25] * 24, dtype=object),
    ):
        assert np.isnan(codes(column)[:5]).tolist() == [False, True, False, True, False]
    words = ["a", "", "b", None, "NA", "b", " ", "b", "nan", "None"] * 12
    assert levels(words) == ("b", "NA", "None", "a", "nan")
    assert np.isnan(codes(words)[:10]).tolist() == [False, True, False, True, False, False, True, False, False, False]


def test_the_user_says_better():
    fives = np.arange(N) % 5
    assert kind(fives, kinds={"x": "nominal"}) == "nominal"
    assert kind(fives, kinds={"x": "continuous"}) == "continuous"
    assert kind(np.arange(N) % 20, kinds={"x": "ordinal"}) == "ordinal"
    assert levels(["10", "9", "8"] * 40, kinds={"x": "ordinal"}) == ("8", "9", "10")
    assert kind(["0", "1"] * 60, kinds={"x": "continuous"}) == "continuous"
    assert kind([True, False, True] * 40, kinds={"x": "continuous"}) == "continuous"
    assert kind(np.arange(N), kinds={"x": "continuous"}) == "continuous"
    assert kind(pd.Categorical([1, 2, 3] * 40), kinds={"x": "ordinal"}) == "ordinal"
    assert kind([f"n{k}" for k in range(N)], kinds={"x": "nominal"}) == "nominal"


def test_what_the_user_says_must_be_possible():
    assert "near are 'height'" in refusal(frame(height=0.0), kinds={"heigth": "nominal"})
    assert "the columns are 'a', 'b'" in refusal(frame(), kinds={"zzzz": "nominal"})
    assert "'nominl'" in refusal(frame(), kinds={"a": "nominl"})
    assert "'x'" in refusal(frame(x=["a", "b", "c"] * 40), kinds={"x": "binary"})
    text = refusal(frame(x=["1", "b", "3"] * 40), kinds={"x": "continuous"})
    assert all(word in text for word in ("'x'", "'b'", "row 2"))
    assert "ordered=True" in refusal(frame(x=pd.Categorical(["a", "b", "c"] * 40)), kinds={"x": "ordinal"})
    assert "near are 'b'" in refusal(frame(), without=["b2"])


def test_more_levels_than_can_be_told_apart_are_merged():
    column = [f"v{k:02d}" for k in range(20) for _ in range(30 - k)]
    column = column[: len(column) // 10 * 10]
    table = Table.from_frame({"a": rng().standard_normal(len(column)), "x": column})
    assert warned(table, "'x'", "20 levels", "15", "5 are merged")
    assert set(table.levels[1]) == {*(f"v{k:02d}" for k in range(15)), "5 others"}
    counts = np.bincount(table.values[:, 1].astype(int))
    assert len(counts) == MAX_LEVELS + 1
    assert (np.diff(counts) <= 0).all()
    assert counts[0] == sum(word >= "v15" for word in column)
    sixteen = [f"v{k % 16}" for k in range(160)]
    whole = Table.from_frame({"a": rng().standard_normal(160), "x": sixteen})
    assert set(whole.levels[1]) == set(sixteen)
    assert whole.warnings == ()


# Whatever holds a table


def test_arrays_frames_lists_and_mappings_give_the_same_table():
    values = rng().standard_normal((40, 3))
    array = Table.from_frame(values)
    assert array.names == array.all_names == ("x0", "x1", "x2")
    assert array.values.tolist() == values.tolist()
    assert (array.rows_seen, len(array), array.isolated, array.duplicates) == (40, 40, (), ())
    named = [f"x{k}" for k in range(3)]
    for same in (
        pd.DataFrame(values),
        pd.DataFrame(values, columns=named),
        values.tolist(),
        values.astype(object),
        [dict(zip(named, row, strict=True)) for row in values],
        dict(zip(named, values.T, strict=True)),
        sparse.csr_array(values),
        pd.DataFrame(values).astype(pd.SparseDtype("float")),
        np.asfortranarray(values),
        np.array([tuple(row) for row in values], dtype=[(name, float) for name in named]),
    ):
        assert Table.from_frame(same).content_hash == array.content_hash
    other = Table.from_frame(values, names=["u", "v", "w"])
    assert other.names == ("u", "v", "w")
    assert other.content_hash != array.content_hash
    assert other.keys == array.keys


def test_the_hashes_are_of_the_content():
    values = np.array([[0.0, np.nan], [1.5, 2.0]] * 10)
    table = Table.from_frame(values, kinds={"x0": "continuous", "x1": "continuous"}, names=None, without="x1")
    odd = np.frombuffer(np.array([0x7FF8000000000001], np.uint64).tobytes())[0]
    twin = Table.from_frame(
        np.where(np.isnan(values), odd, values * -1 * -1), kinds={"x0": "continuous"}, without=["x1"]
    )
    assert table.content_hash == twin.content_hash
    assert len(table.content_hash) == 64
    moved = Table.from_frame(values[::-1].copy(), kinds={"x0": "continuous"}, without=["x1"])
    assert moved.content_hash != table.content_hash
    binary = Table.from_frame(values, without=["x1"])
    assert binary.keys != table.keys
    assert table.keys[0] == hashlib.sha256(b"continuous" + values[:, 0].tobytes()).digest()


def test_columns_can_be_left_out():
    table = Table.from_frame(frame(id=range(N)), without=["id"])
    assert table.names == table.all_names == ("a", "b")
    assert table.content_hash == Table.from_frame(frame(id=range(N)), without="id").content_hash


# What cannot be used: each names the column and the remedy


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ([None] * N, ("no value", "leave it out")),
        ([np.nan] * N, ("no value", "leave it out")),
        ([""] * N, ("no value", "leave it out")),
        (pd.Categorical([None] * N, ["u"]), ("no value", "leave it out")),
        ([1.0, 2.5, np.inf, 3.5, -np.inf, 0.5] * 20, ("40 infinite values", "row 3", "empty")),
        ([1.0, 2.5, 3.5, np.inf] + [0.5] * 116, ("an infinite value", "row 4", "empty")),
        ([10**400, 1, 2, -(10**400)] * 30, ("60 infinite values", "row 1")),
        (range(N), ("numbers the rows (0, 1, 2, …)", "leave it out", "--kinds")),
        (range(1, N + 1), ("numbers the rows (1, 2, 3, …)", "leave it out")),
        ([float(k) for k in range(N)], ("numbers the rows (0, 1, 2, …)", "leave it out")),
        ([str(k) for k in range(N)], ("numbers the rows (0, 1, 2, …)", "leave it out")),
        ([f"p{k}" for k in range(N)], ("identifier", "120 different texts", "'p0'", "leave it out")),
        ([f"p{k % 112}" for k in range(N)], ("identifier", "112 different texts in 120", "leave it out")),
        (pd.Categorical([f"p{k}" for k in range(N)]), ("identifier", "leave it out")),
        (pd.date_range("2020-01-01", periods=N), ("dates", "2020-01-01", "days since")),
        (pd.date_range("2020-01-01", periods=N, tz="UTC"), ("dates", "days since")),
        (pd.period_range("2020-01", periods=N, freq="M"), ("dates", "2020-01", "days since")),
        (pd.timedelta_range("1h", periods=N), ("dates or times", "leave it out")),
        ([d.date() for d in pd.date_range("2020-01-01", periods=N)], ("dates", "days since")),
        ([str(d.date()) for d in pd.date_range("2020-01-01", periods=N)], ("dates", "'2020-01-01' (data row 1)")),
        (["2020-01-01T10:00:00Z", "2020-02-01T10:00:00Z", None] * 40, ("dates", "days since")),
        (["31.12.1999", "01.01.00", "02.01.2000"] * 40, ("dates", "'31.12.1999'")),
        (["3 Mar 2020", "12 April 2020", "1 Jan 21"] * 40, ("dates", "days since")),
        (["10:30", "11:15 PM", "9:05:10"] * 40, ("dates or times", "'10:30'")),
        (np.full(N, 1 + 2j) * np.arange(N), ("complex", "real and imaginary part")),
        ([1 + 2j, 3.0] * 60, ("complex", "real and imaginary part")),
        ([[1, 2]] * N, ("a list in data row 1", "leave it out")),
        ([1.0, {"k": 1}] * 60, ("a dict in data row 2", "leave it out")),
        ([b"x", b"y", b"z"] * 40, ("a bytes in data row 1", "leave it out")),
        ([f"{k * 1000:,}" for k in range(N)], ("numbers written as text", "'1,000'", "plain numbers", "nominal")),
        ([f"{k} kg" for k in range(N)], ("numbers written as text", "'0 kg'", "without unit")),
        ([f"{k},5" for k in range(N)], ("numbers written as text", "'0,5'", "decimal point")),
        ([f"{k}.5" if k % 9 else "bad" for k in range(N)], ("numbers, but in 14 cells", "'bad' (data row 1)", "empty")),
    ],
)
def test_a_column_that_cannot_be_used_is_named_with_the_remedy(column, words):
    text = refusal(frame(x=column))
    assert text.startswith("column 'x' ")
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize("name", ["id", "ID", "customer_id", "Unnamed: 0", "patient.no", "index"])
def test_whole_numbers_named_like_an_identifier_are_one(name):
    text = refusal(frame(**{name: rng().permutation(N) + 1000}))
    assert all(word in text for word in (f"column {name!r}", "identifier", "leave it out"))


def test_an_identifier_is_seen_by_its_place_in_the_source_and_a_name_is_not_enough():
    assert Table.from_frame(frame(id=np.arange(N) % 30)).warnings == ()
    assert Table.from_frame(frame(humid=rng().permutation(N) * 7)).warnings == ()
    years = Table.from_frame(frame(year=np.arange(1900, 1900 + N)))
    assert warned(years, "'year'", "in order", "leave it out")
    ranks = Table.from_frame(frame(rank=rng().permutation(N)))
    assert warned(ranks, "'rank'", "without a gap")


def test_all_bad_columns_are_told_at_once_and_share_a_remedy():
    bad = frame(when=pd.date_range("2020", periods=N), k=range(N), m=[f"{k} kg" for k in range(N)], n=["1,234"] * N)
    bad["then"] = bad["when"]
    text = refusal(bad.assign(n=[f"{k},000" for k in range(N)]))
    assert all(f"column '{name}'" in text for name in ("when", "then", "k", "m", "n"))
    assert text.count("plain numbers") == 1
    assert text.count("days since") == 1
    many = refusal(frame(**{f"d{k}": pd.date_range("2020", periods=N) for k in range(6)}))
    assert "alike 'd3', 'd4', 'd5'" in many


def test_names_must_be_there_and_differ():
    twice = frame(c=1).rename(columns={"c": "a"})
    assert "columns 1 and 3 are both named 'a'" in refusal(twice)
    assert "column 2 has an empty name" in refusal(frame().rename(columns={"b": " "}))
    assert "3 names do not fit 2 columns" in refusal(frame(), names=["u", "v", "w"])
    both = pd.DataFrame(rng().standard_normal((20, 2)), columns=pd.MultiIndex.from_tuples([("u", "v"), ("u", "")]))
    assert Table.from_frame(both).names == ("u v", "u")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros(5), "this has 1 (shape (5,))"),
        (np.zeros((3, 4, 5)), "this has 3"),
        (np.float64(3), "this has 0"),
        (pd.Series([1.0, 2.0], name="s"), "'s' is a single column"),
        ("data.csv", "Table.load"),
        ([[1, 2], [3]], "give a"),
        ({"a": [1, 2], "b": [1]}, "columns of one length"),
        (pd.DataFrame(), "no columns"),
        (pd.DataFrame(index=range(20)), "no columns"),
        (frame().iloc[:0], "2 columns and no rows"),
        (frame().iloc[:1], "one row, and at least 10"),
        (frame().iloc[:9], "9 rows, and at least 10"),
        (np.ones((20, 3)), "no column varies"),
        (sparse.csr_array((10_000_000, 10)), "100,000,000 cells"),
    ],
)
def test_what_is_no_table_is_said(given, words):
    assert words in refusal(given)


def test_too_many_columns_must_be_meant():
    values = rng().standard_normal((20, 151))
    assert all(word in refusal(values) for word in ("151 columns", "150", "--allow-wide"))
    assert len(Table.from_frame(values, allow_wide=True).names) == 151
    values[:, 0] = 1
    assert Table.from_frame(values).isolated == ("x0",)


# What is used, with a warning


def test_constant_columns_stand_alone():
    table = Table.from_frame(frame(k=7, u=["s"] * N, v=[None, True] * 60, z=[None] * 119 + [2.5]))
    assert table.isolated == ("k", "u", "v", "z")
    assert table.names == ("a", "b")
    assert table.all_names == ("a", "b", "k", "u", "v", "z")
    for name, value in (("k", "7"), ("u", "'s'"), ("v", "'True'"), ("z", "2.5")):
        assert warned(table, f"'{name}'", "constant", f"({value})", "alone")


def test_copies_are_kept_once():
    base = frame()
    a, b = base["a"], base["b"]
    letters = np.array(list("xyz"))[rng(3).integers(0, 3, N)]
    table = Table.from_frame(
        base.assign(
            c=3 - 2e5 * a,
            e=b * 1e-9,
            f=a,
            near=a + 1e-3 * rng(1).standard_normal(N),
            g=letters,
            h=[{"x": "9", "y": "1", "z": "5"}[letter] for letter in letters],
        )
    )
    assert table.duplicates == (("a", "c", "f"), ("b", "e"), ("g", "h"))
    assert table.names == ("a", "b", "near", "g")
    assert warned(table, "columns 'c', 'f' are the same as 'a' but for scale and shift")
    assert warned(table, "column 'h' is the same as 'g' but for the names of the levels")


def test_copies_are_found_where_cells_are_missing_and_one_far_row_makes_none():
    base = frame()
    gaps = np.where(rng(1).random(N) < 0.2, np.nan, 5 - base["a"])
    far = base.assign(a=np.where(np.arange(N) == 3, 1e12, base["a"]), b=np.where(np.arange(N) == 3, 1e12, base["b"]))
    assert Table.from_frame(base.assign(c=gaps)).duplicates == (("a", "c"),)
    assert Table.from_frame(far).duplicates == ()
    assert Table.from_frame(far.assign(c=2 * far["a"])).duplicates == (("a", "c"),)
    fives = pd.Series(rng(2).integers(0, 5, N))
    assert Table.from_frame(base.assign(x=fives, y=10 - 2 * fives)).duplicates == (("x", "y"),)
    holes = fives.where(fives > 0)
    assert Table.from_frame(base.assign(x=fives, y=holes.map({1: 2, 2: 1, 3: 3, 4: 4}))).duplicates == ()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.booleans())
def test_copies_are_those_of_a_count_pair_by_pair(seed, width, gaps):
    random = rng(seed)
    sources = random.standard_normal((60, 3)) * 10 ** random.uniform(-3, 3, 3)
    pick = random.integers(0, 3, width)
    values = sources[:, pick] * random.choice([-2.0, 0.5, 1.0], width) + random.normal(0, 100, width)
    if gaps:
        values[random.random(values.shape) < 0.1] = np.nan
    table = Table.from_frame(values)
    expected = [tuple(f"x{k}" for k in np.flatnonzero(pick == s)) for s in dict.fromkeys(pick.tolist())]
    assert set(table.duplicates) == {group for group in expected if len(group) > 1}
    assert table.names == tuple(sorted(group[0] for group in expected))


def test_the_largest_and_the_smallest_numbers_are_numbers():
    x = rng(3).uniform(-1, 1, N)
    table = Table.from_frame(frame(huge=x * 1.7e308, twin=x * -8e307, tiny=x * 1e-300, far=1e15 + np.round(50 * x)))
    assert table.duplicates == (("huge", "twin", "tiny"),)
    assert table.names == ("a", "b", "huge", "far")


def test_what_others_determine_is_said():
    base = frame()
    c = rng(4).standard_normal(N)
    total = base["a"] + base["b"] + c
    table = Table.from_frame(base.assign(c=c, total=total, free=rng(5).standard_normal(N)))
    (text,) = table.warnings
    assert text.startswith("columns 'a', 'b', 'c', 'total' are all but determined")
    noisy = Table.from_frame(base.assign(c=c, total=total + 0.2 * rng(6).standard_normal(N)))
    assert noisy.warnings == ()
    gaps = base.assign(c=c, total=total).mask(rng(7).random((N, 4)) < 0.05)
    assert warned(Table.from_frame(gaps), "'total'", "determined")
    city = rng(8).integers(0, 6, 600)
    levels = pd.DataFrame({"a": rng(1).standard_normal(600), "city": [f"c{k}" for k in city], "land": city // 3})
    assert warned(Table.from_frame(levels), "column 'land' is all but determined")


def test_determined_is_r_squared_on_the_others_adjusted_for_their_number():
    told = set()
    for rows, noise in itertools.product((30, 80), (0.02, 0.05, 0.1, 0.2)):
        random = rng(2)
        values = random.standard_normal((rows, 20))
        values[:, 4] = values[:, 0] - values[:, 1] + noise * random.standard_normal(rows)
        expected, plain = [], []
        for k in range(20):
            others = np.column_stack([np.ones(rows), np.delete(values, k, 1)])
            left = values[:, k] - others @ np.linalg.lstsq(others, values[:, k], rcond=None)[0]
            share = left.var() / values[:, k].var()
            plain += [f"'x{k}'"] * int(1 - share > 0.999)
            expected += [f"'x{k}'"] * int(1 - share * (rows - 1) / (rows - 20) > 0.999)
        said = [text for text in Table.from_frame(values).warnings if "determined" in text]
        assert [text.split(" are all")[0] for text in said] == [f"columns {', '.join(expected)}"] * bool(expected)
        told.add((bool(expected), expected == plain))
    assert told == {(True, True), (False, False), (False, True)}


def test_thin_tables_are_warned_of():
    few = Table.from_frame(rng().standard_normal((49, 3)))
    assert few.warnings == ("49 rows are few: what is found may be chance, and much that is there is missed",)
    assert Table.from_frame(rng().standard_normal((50, 3))).warnings == ()
    flat = Table.from_frame(rng().standard_normal((60, 65)))
    assert warned(flat, "fewer rows (60) than columns (65)")
    assert warned(flat, "65 columns", "64")
    assert Table.from_frame(rng().standard_normal((200, 64))).warnings == ()
    gaps = Table.from_frame(frame(x=np.where(np.arange(N) % 5 < 3, np.nan, rng().standard_normal(N))))
    assert warned(gaps, "'x'", "60% missing")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["5 mg", "10 mg", "20 mg"] * 40, ("'5 mg'", "levels without an order", "plain numbers")),
        (["0", "1", "2", "3+"] * 30, ("mixes numbers with '3+'", "levels")),
        ([str(k / 7) if k % 10 else "?" for k in range(N)], ("'?'", "read as missing", "12 cells")),
        ([str(k / 7) if k else "unknown" for k in range(N)], ("'unknown'", "read as missing", "one cell")),
        (["a", "b", "?"] * 40, ("'?' as a level", "empty")),
        (["Yes", "yes", "No"] * 40, ("'Yes' and 'yes'", "alike")),
        (["1", "2", "3"] * 40, ("numbers as text", "levels")),
    ],
)
def test_texts_that_may_be_something_else_are_warned_of(column, words):
    table = read(column)
    (text,) = table.warnings
    assert text.startswith("column 'x' ")
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    "column", [["20-29", "30-39", "40+"] * 40, ["A1", "B2", "C3"] * 40, ["01067", "80331", "01069"] * 40]
)
def test_true_levels_are_let_be(column):
    assert read(column).warnings == ()
    assert kind(column) == "nominal"


# Properties


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_neither_names_of_levels_nor_the_order_of_columns_matter(seed):
    random = rng(seed)
    words = random.choice(list("pqrs"), 90, p=[0.4, 0.3, 0.2, 0.1])
    given = pd.DataFrame({"n": random.standard_normal(90), "w": words, "k": random.integers(0, 4, 90)})
    counts = given["w"].value_counts()
    if counts.nunique() < len(counts):
        return
    table = Table.from_frame(given)
    renamed = dict(zip("pqrs", random.permutation(list(string.ascii_letters))[:4], strict=True))
    assert Table.from_frame(given.assign(w=given["w"].map(renamed))).content_hash == table.content_hash
    for order in itertools.permutations(range(3)):
        turned = Table.from_frame(given.iloc[:, list(order)])
        assert turned.names == tuple(table.names[k] for k in order)
        assert np.array_equal(turned.values, table.values[:, order])
        assert turned.keys == tuple(table.keys[k] for k in order)
    rows = random.permutation(90)
    assert np.array_equal(Table.from_frame(given.iloc[rows]).values, table.values[rows])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_the_codes_say_what_the_texts_said(seed):
    random = rng(seed)
    words = random.choice(["u", "v", "w", None], 80, p=[0.5, 0.2, 0.2, 0.1])
    table = Table.from_frame({"a": random.standard_normal(80), "w": words})
    back = [None if np.isnan(code) else table.levels[1][int(code)] for code in table.values[:, 1]]
    assert back == words.tolist()


def test_no_column_is_no_copy_of_nothing():
    assert copy_groups([]) == []
    assert determined_columns([]) == []


def test_a_table_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="as many"):
        Table(("a",), ("continuous",), np.zeros((10, 2)), ((),))
