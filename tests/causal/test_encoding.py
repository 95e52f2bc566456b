import numpy as np
import pytest
import torch
from scipy import stats

from intaglio.causal.methods.sicl.networks.encoding import BINARY, CONTINUOUS, NOMINAL, ORDINAL, Encoded, encode

KINDS = [CONTINUOUS, ORDINAL, NOMINAL, BINARY]


def mixed(rows=60, seed=0):
    rng = np.random.default_rng(seed)
    x = np.stack(
        [rng.standard_normal(rows), rng.integers(5, size=rows), rng.integers(3, size=rows), rng.integers(2, size=rows)],
        1,
    ).astype(np.float64)
    x[:, 0] += x[:, 1]
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


def encoded(x, kinds=KINDS, **options) -> Encoded:
    return encode(torch.from_numpy(x)[None], torch.tensor(kinds)[None], **options)


def test_cells_hold_standard_values_normal_scores_gaps_and_frequencies():
    x = mixed()
    cells, known = encoded(x).cells[0].numpy(), ~np.isnan(x)
    for k in range(4):
        value = x[known[:, k], k]
        assert np.allclose(cells[known[:, k], k, 0], (value - value.mean()) / value.std(), atol=1e-5)
        score = stats.norm.ppf((stats.rankdata(value) - 0.5) / len(value))
        assert np.allclose(cells[known[:, k], k, 1], (score - score.mean()) / score.std(), atol=1e-4)
    assert np.array_equal(cells[..., 2], ~known)
    assert not cells[..., :2][~known].any()
    share = np.log((x[known[:, 2], 2] == 1).mean())
    assert np.allclose(cells[known[:, 2] & (x[:, 2] == 1), 2, 3], share, atol=1e-5)
    assert not cells[:, 0, 3].any()


def test_slots_rank_levels_by_frequency():
    x = np.array([[2.0], [2], [2], [0], [0], [1], [np.nan]])
    assert encoded(x, [NOMINAL]).slots[0, :, 0].tolist() == [1, 1, 1, 2, 2, 3, 0]
    assert not encoded(x, [CONTINUOUS]).slots.any()


def test_units_change_nothing_and_signs_change_no_statistic():
    x = mixed()
    before, scaled, turned = (encoded(one) for one in (x, x * [1e6, 1, 1, 1] + [5, 0, 0, 0], x * [-1, 1, 1, 1]))
    for name in ("cells", "pairs", "triples"):
        assert torch.allclose(getattr(before, name), getattr(scaled, name), atol=1e-4)
    for name in ("pairs", "triples"):
        assert torch.allclose(getattr(before, name), getattr(turned, name), atol=1e-4)


def test_the_order_of_columns_is_the_order_of_everything():
    x, order = mixed(), [2, 0, 3, 1]
    one, two = encoded(x), encoded(x[:, order], [KINDS[k] for k in order])
    assert torch.allclose(two.cells, one.cells[:, :, order], atol=1e-5)
    assert torch.allclose(two.pairs, one.pairs[:, order][:, :, order], atol=1e-4)
    assert torch.allclose(two.triples, one.triples[:, order][:, :, order][:, :, :, order], atol=1e-4)


def test_the_order_of_rows_changes_no_statistic():
    x = mixed()
    one, two = encoded(x), encoded(x[np.random.default_rng(0).permutation(len(x))])
    assert torch.allclose(one.pairs, two.pairs, atol=1e-4)


def test_names_of_levels_do_not_matter_where_frequencies_differ():
    x = np.random.default_rng(0).choice(3, size=(80, 2), p=[0.6, 0.3, 0.1]).astype(np.float64)
    one, two = encoded(x, [NOMINAL] * 2), encoded((x + 1) % 3, [NOMINAL] * 2)
    assert torch.equal(one.slots, two.slots)
    assert torch.allclose(one.pairs[..., 13:16], two.pairs[..., 13:16], atol=1e-4)


def test_statistics_are_of_all_rows_and_cells_of_some():
    whole, part = encoded(mixed()), encoded(mixed(), rows=slice(0, 7))
    assert part.cells.shape == (1, 7, 4, 4)
    assert torch.equal(part.pairs, whole.pairs)
    assert torch.equal(whole.with_rows(slice(0, 7)).cells, part.cells)
    assert whole.size[0].tolist() == pytest.approx([np.log10(60), np.log10(4)])
