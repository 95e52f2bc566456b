import math
from itertools import pairwise

import pytest
import torch

from intaglio.metrics.localisation import aggregated, bin_edges, share_within

CELL = torch.tensor([[True, False], [False, False]])


def test_the_share_of_the_positive_part_in_a_cell():
    assert share_within(torch.ones(2, 2), CELL) == 0.25
    assert share_within(torch.tensor([[1.0, -5.0], [0.0, 3.0]]), CELL) == 0.25
    assert share_within(-torch.ones(2, 2), CELL) == 0.0


def test_bins_of_two_hundred_and_of_few_maps():
    assert bin_edges(200) == [0, 4, 10, 100, 190, 196, 200]
    for count in range(6, 60):  # every bin has a map, and every map a bin
        edges = bin_edges(count)
        assert (edges[0], edges[-1]) == (0, count)
        assert all(first < last for first, last in pairwise(edges))
    assert bin_edges(2) == [0, 1, 1, 1, 1, 1, 2]
    assert bin_edges(5) == [0, 1, 2, 3, 3, 4, 5]
    assert bin_edges(1) == [0, 1, 1, 1, 1, 1, 1]


def test_means_of_bins_from_the_best_and_no_map_outweighs_another():
    maps = torch.zeros(4, 2, 2)
    maps[0] = torch.tensor([[100.0, 100.0], [0.0, -7.0]])  # half of it within, and large
    maps[1] = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    maps[2] = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    maps[3] = torch.tensor([[0.0, 4.0], [0.0, 0.0]])
    found = aggregated(maps, [share_within(one, CELL) for one in maps], (0.0, 0.5, 1.0))
    torch.testing.assert_close(found[0], torch.tensor([[0.75, 0.25], [0.0, 0.0]]))
    torch.testing.assert_close(found[1], torch.tensor([[0.0, 0.5], [0.0, 0.5]]))
    assert math.isnan(float(aggregated(maps[:1], [1.0], (0.0, 0.5, 1.0))[1, 0, 0]))
    assert float(aggregated(maps, [0.5, 1.0, 0.0, 0.0]).nansum()) == pytest.approx(4)
