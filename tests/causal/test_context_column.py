"""The column of regimes or times: row numbers, dates and any number of levels are taken, as in no other column."""

import numpy as np
import pandas as pd
import pytest

from intaglio.causal.tables.table import Table
from intaglio.errors import BadInput


def read(context, **changes):
    """The values, kind and levels that a context is read as."""
    x = np.random.default_rng(0).standard_normal(len(context))
    table = Table.from_frame(pd.DataFrame({"x": x, "c": context}), context="c", **changes)
    return table.values[:, 1], table.kinds[1], table.levels[1]


def test_numbers_that_number_the_rows_are_taken_in_a_context_alone():
    values, kind, _ = read(np.arange(60))
    assert kind == "continuous"
    assert np.array_equal(values, np.arange(60))
    with pytest.raises(BadInput, match="numbers the rows"):
        Table.from_frame(pd.DataFrame({"x": np.arange(60.0) ** 2, "c": np.arange(60)}))


@pytest.mark.parametrize("as_text", [False, True])
def test_dates_are_days_since_the_first(as_text):
    dates = pd.Series(pd.date_range("2024-03-01", periods=60, freq="12h"))
    values, kind, _ = read(dates.dt.strftime("%Y-%m-%dT%H:%M") if as_text else dates)
    assert kind == "continuous"
    assert values == pytest.approx(np.arange(60) / 2)


def test_every_text_is_a_level_of_its_own_and_gaps_are_gaps():
    words = [f"site {k % 30:02d}" for k in range(90)]
    values, kind, levels = read(words)
    assert kind == "nominal"
    assert len(levels) == 30
    assert [levels[int(value)] for value in values] == words
    values, _, _ = read([None, *words[1:]])
    assert np.isnan(values[0])
    assert not np.isnan(values[1:]).any()
    assert read([True, False] * 30)[1] == "binary"
    assert read(np.arange(60) % 4)[1] == "ordinal"


def test_the_kind_that_is_given_is_kept_to_and_the_file_reads_the_same(tmp_path):
    assert read(np.arange(60) % 4, kinds={"c": "nominal"})[1] == "nominal"
    frame = pd.DataFrame({"x": np.random.default_rng(0).standard_normal(60), "c": [f"s{k % 20}" for k in range(60)]})
    frame.to_csv(tmp_path / "table.csv", index=False)
    one, two = Table.from_frame(frame, context="c"), Table.load(tmp_path / "table.csv", context="c")
    assert np.array_equal(one.values[:, 1], two.values[:, 1])
    assert one.levels == two.levels


def test_levels_are_never_merged_and_many_in_order_are_times():
    """300 days, whose rarer levels were merged into a sixteenth in any other column."""
    days = [f"{k % 28 + 1:02d}.{k // 28 + 1:02d}.2024" for k in range(300)]
    values, kind, levels = read(days * 2, kinds={"c": "nominal"})
    assert (kind, len(levels)) == ("nominal", 300)
    assert [levels[int(value)] for value in values] == days * 2
    values, kind, levels = read([k % 20 for k in range(60)], kinds={"c": "nominal"})
    assert sorted(levels, key=int) == [str(k) for k in range(20)]
    assert [int(levels[int(value)]) for value in values] == [k % 20 for k in range(60)]
    ordered = pd.Categorical([*days, None], categories=[*days, "never"], ordered=True)
    values, kind, _ = read(ordered)
    assert kind == "continuous"
    assert np.array_equal(values[:-1], np.arange(300))
    assert np.isnan(values[-1])
    assert read(pd.Categorical(days, categories=days))[1] == "nominal", "no order"
    few = pd.Categorical(["low", "mid", "high"] * 20, categories=["low", "mid", "high"], ordered=True)
    assert read(few)[1] == "nominal"


def test_a_context_that_is_not_there_or_left_out_is_refused_by_name():
    frame = pd.DataFrame({"x": np.random.default_rng(0).standard_normal(60), "site": np.arange(60) % 3})
    with pytest.raises(BadInput, match="'sight' .--context. is no column; near are 'site'"):
        Table.from_frame(frame, context="sight")
    with pytest.raises(BadInput, match="both the context and left out"):
        Table.from_frame(frame, context="site", without=["site"])
