"""Repeated rows that are not equal in every digit or in every column, and tables that only look so."""

import numpy as np
import pytest

from assumption_tables import harvest, independent, simulated
from intaglio import SiCL
from intaglio.causal.tables.noisy_repeats import noisy_repeats
from intaglio.causal.tables.repeated_rows import repeated_rows
from intaglio.causal.tables.row_content import hash_of_rows

ROWS, TIMES = 150, 4
ONCE = harvest(rows=ROWS)
AGAIN = np.tile(ONCE, (TIMES, 1))
RANDOM = np.random.default_rng(3)
NOISE = RANDOM.standard_normal(AGAIN.shape)
NEW = RANDOM.random((len(AGAIN), 2))
REPEATED = {
    "to the last digit": AGAIN,
    "but for rounding": AGAIN * (1 + 1e-9 * NOISE),
    "in single precision": AGAIN.astype(np.float32) * 1.0,
    "far from zero": AGAIN * (1 + 1e-12 * NOISE) + 1e3,
    "beside a new number": np.column_stack([NEW[:, :1], AGAIN]),
    "beside two new numbers": np.column_stack([NEW[:, :1], AGAIN, 100 * NEW[:, 1:]]),
    "but for rounding, beside a new number": np.column_stack([AGAIN * (1 + 1e-9 * NOISE), NEW[:, 0]]),
    "beside an identifier": np.column_stack([np.repeat(ONCE, TIMES, 0), 7.0 * np.arange(ROWS * TIMES)]),
    "with gaps": np.where(np.abs(AGAIN) > 2, np.nan, AGAIN) + 0 * NOISE,
}


def numbers(columns: int) -> tuple:
    return ("continuous",) * columns


@pytest.mark.parametrize("name", REPEATED)
def test_rows_that_are_given_again_are_found(name):
    values = REPEATED[name]
    found = repeated_rows(values, numbers(values.shape[1]))
    assert found is not None
    assert (found.rows, found.distinct, int(found.kept.sum())) == (ROWS * TIMES, ROWS, ROWS)
    assert len(np.unique(values[found.kept, 1].round(5))) == ROWS or "gaps" in name, "one of each"
    assert found.up_to == ("the last digits" if "rounding" in name or "far" in name else "")
    assert len(found.fresh) == ("two" in name) + ("beside" in name)


def test_one_row_in_five_is_enough():
    values = np.concatenate([ONCE, ONCE[:40]]) + 1e-9 * NOISE[:190]
    found = repeated_rows(np.column_stack([values, NEW[:190, 0]]), numbers(6))
    assert found is not None
    assert (found.distinct, found.fresh) == (ROWS, (5,))


@pytest.mark.parametrize("name", ["but for rounding", "beside a new number"])
def test_the_row_that_is_kept_does_not_hang_on_the_order(name):
    values = REPEATED[name]
    order, columns = RANDOM.permutation(len(values)), RANDOM.permutation(values.shape[1])
    one = repeated_rows(values, numbers(len(columns)))
    two = repeated_rows(7 * values[order][:, columns], numbers(len(columns)))
    assert one is not None
    assert two is not None
    assert np.array_equal(np.sort(order[two.kept]), np.flatnonzero(one.kept))


PLACES = np.random.default_rng(1).standard_normal((20, 3))[np.arange(600) % 20]
SOUND = {
    "two measurements in each of twenty places": np.column_stack([PLACES, NEW[:, 0], NEW[:, 0] + 0.2 * NEW[:, 1]]),
    "one measurement in each of twenty places": np.column_stack([PLACES, PLACES[:, 0] + NEW[:, 0]]),
    "gaps in all but one": np.where(NEW[:, :1] * [0, 1, 1, 1] > 0.6, np.nan, NOISE[:, :4]),
    "coarse numbers": np.column_stack([np.round(NOISE[:, :3]), NEW[:, 0]]),
    "a far cell": np.where(np.arange(600)[:, None] == 3, 1e12, NOISE),
    "all different": NOISE,
    "one column": NOISE[:, :1],
    "two, one of them coarse": np.column_stack([np.round(NOISE[:, 0], 1), NEW[:, 0]]),
}


@pytest.mark.parametrize("name", SOUND)
def test_rows_that_agree_for_another_reason_all_count(name):
    values = SOUND[name]
    assert repeated_rows(values, numbers(values.shape[1])) is None


@pytest.mark.parametrize("name", ["but for rounding", "beside two new numbers"])
def test_the_answer_is_that_of_each_row_once(name):
    values = REPEATED[name]
    found, once = SiCL()(values), SiCL()(ONCE)
    inner = [k for k in range(values.shape[1]) if "two" not in name or 0 < k < 6]
    assert np.allclose(found.adjacent[np.ix_(inner, inner)], once.adjacent, atol=0.1)
    assert found.rows == ROWS
    words = "but 'x0' and 'x6', so" if "two" in name else "in every column, up to the last digits, so"
    assert any(words in text for text in found.warnings)


@pytest.mark.parametrize("times", [2, 5])
def test_rows_that_are_given_again_with_noise_count_about_once(times):
    random = np.random.default_rng(times)
    once = random.standard_normal((120, 8))
    values = np.tile(once, (times, 1)) + 0.05 * random.standard_normal((120 * times, 8))
    found = repeated_rows(values, numbers(8))
    assert found is not None
    assert found.up_to == "a small noise"
    assert 110 < found.distinct < 135
    order = random.permutation(len(values))
    again = repeated_rows(3 * values[order], numbers(8))
    assert again is not None
    assert np.array_equal(np.sort(order[again.kept]), np.flatnonzero(found.kept))


def test_rows_near_each_other_by_law_are_no_noisy_repeats():
    """On curves, surfaces and walks, in clusters and with heavy tails the nearest row is about as near as the next."""
    random = np.random.default_rng(4)
    t, u = random.standard_normal((2, 600, 1))
    waves = np.sin(t * np.arange(1, 9))
    for values in (
        waves,
        waves + np.cos(u * np.arange(1, 9)),
        waves + 0.01 * random.standard_normal((600, 8)),
        np.cumsum(random.standard_normal((600, 8)), 0),
        random.standard_normal((30, 8))[random.integers(30, size=600)] + 0.05 * random.standard_normal((600, 8)),
        random.standard_cauchy((600, 8)),
    ):
        assert repeated_rows(values, numbers(8)) is None


def test_sound_tables_repeat_no_row():
    tables = [independent(seed, rows, gaps=seed % 2 == 1) for rows in (100, 300) for seed in range(20)]
    tables += [(values[:600], kinds) for values, kinds in simulated(81_000_003, 20)]
    assert all(repeated_rows(values, kinds) is None for values, kinds in tables)


def test_hashes_of_rows_are_those_of_splitmix64():
    """The first output for the seed 0, and sums over columns that are told apart only where they are salted."""
    assert hash_of_rows(np.array([[0]]), salted=False)[0] == 0xE220A8397B1DCDAF
    one, two = np.array([[3, -4], [3, 3]]), np.array([[-4, 3], [3, 3]])
    assert np.array_equal(hash_of_rows(one, salted=False), hash_of_rows(two, salted=False))
    assert hash_of_rows(one, salted=True)[0] != hash_of_rows(two, salted=True)[0]


@pytest.mark.parametrize("decimals", [(4, 2), (4, 1), (3, 1), (3, 2)])
def test_an_export_with_fewer_decimals_is_found(decimals):
    for seed in range(2):
        random = np.random.default_rng(seed)
        values = random.normal(size=(300, 6)) @ np.tril(random.normal(size=(6, 6))).T
        values /= values.std(0)
        both = np.concatenate([np.round(values, digits) for digits in decimals])[random.permutation(600)]
        found = repeated_rows(both, numbers(6))
        assert found is not None
        assert found.distinct < 330


def test_two_measurements_of_one_thing_are_no_repeats():
    """As before and after a treatment: rows differ in a level in all pairs."""
    random = np.random.default_rng(0)
    base = random.normal(size=(200, 6))
    near = np.concatenate([base + 0.02 * random.normal(size=base.shape) for _ in range(2)])
    kinds = (*numbers(6), "binary")
    assert repeated_rows(np.column_stack([near, np.repeat([0.0, 1.0], 200)]), kinds) is None
    same = np.tile((base[:, 0] > 0).astype(float), 2)
    assert repeated_rows(np.column_stack([near, same]), kinds) is not None


def test_copies_in_few_dimensions_are_let_be():
    """In two dimensions rows come near each other by themselves."""
    random = np.random.default_rng(1)
    plane = np.repeat(random.normal(size=(500, 2)), 2, 0) + random.normal(0, 0.005, (1000, 2))
    values = np.column_stack([plane, plane.sum(1), plane[:, 0] - plane[:, 1]])
    assert noisy_repeats(values, numbers(4)) is None


def test_rounded_sound_tables_repeat_no_row():
    for seed in range(40):
        random = np.random.default_rng(seed)
        d, n = int(random.integers(4, 10)), int(random.choice([150, 600]))
        mixed = random.normal(size=(n, d)) @ np.tril(random.normal(size=(d, d)))
        assert noisy_repeats(np.round(mixed / mixed.std(0), int(random.choice([1, 2]))), numbers(d)) is None
