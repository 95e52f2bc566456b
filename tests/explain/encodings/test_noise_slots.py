import pytest
import torch

import encoding_scenes
from intaglio.errors import BadInput
from intaglio.explain.encodings.noise_slots import (
    NoiseSlots,
    confused_ends,
    confusion,
    direction_distances,
    even_ends,
    even_sizes,
)

SLOTS = NoiseSlots((3, 5, 10), (2, 1, 3))


def test_slots_own_timesteps_and_give_the_numbers_of_earlier_ones():
    t = torch.tensor([0, 2, 3, 4, 5, 9])
    assert SLOTS.of(t).tolist() == [0, 0, 1, 1, 2, 2]
    assert SLOTS.given(t).sum(1).tolist() == [2, 2, 3, 3, 6, 6]
    assert SLOTS.given(torch.tensor([4])).tolist() == [[1, 1, 1, 0, 0, 0]]
    assert SLOTS.own(torch.tensor([4])).tolist() == [[0, 0, 1, 0, 0, 0]]
    assert (SLOTS.starts, SLOTS.numbers) == ((0, 3, 5), 6)


def test_the_slots_part_the_numbers():
    own = SLOTS.own(torch.tensor([0, 3, 5]))
    assert own.sum(0).tolist() == [1] * 6
    for slot in range(3):
        assert own[slot, SLOTS.place(slot)].all()
        assert own[slot].sum() == SLOTS.sizes[slot]


@pytest.mark.parametrize(("ends", "sizes"), [((), ()), ((3, 3), (1, 1)), ((0,), (1,)), ((3, 5), (1,)), ((3,), (0,))])
def test_slots_of_nothing_are_refused(ends, sizes):
    with pytest.raises(ValueError, match="are none"):
        NoiseSlots(ends, sizes)


def test_even_slots_are_those_of_k_times_t_over_count():
    ends = even_ends(1000, 16)
    slots = NoiseSlots(ends, even_sizes(64, 16))
    expected = [int(t / (1000 / 16)) for t in range(1000)]
    assert slots.of(torch.arange(1000)).tolist() == expected
    assert even_sizes(10, 4) == (2, 3, 2, 3)
    with pytest.raises(BadInput, match="3 timesteps, too few for 4 slots"):
        even_ends(3, 4)


def test_confusion_is_how_often_the_likelier_picture_is_the_wrong_one():
    levels = encoding_scenes.schedule()
    found = confusion(torch.tensor([0.5, 4.0]), levels)
    for t in (50, 300, 700):
        a, s = float(levels.signals[t]), float(levels.noises[t])
        for place, distance in enumerate((0.5, 4.0)):
            assert float(found[t, place]) == pytest.approx(encoding_scenes.overlap(distance, a, s), abs=4e-3)
            assert float(found[t, place]) == pytest.approx(
                encoding_scenes.normal_tail(a * distance / (2 * s)), abs=1e-6
            )
    assert (found.diff(dim=0) >= 0).all()


def test_as_much_more_is_confused_over_each_slot():
    confused = torch.linspace(0, 1, 1001).square()
    ends = confused_ends(confused, 4)
    assert [float(confused[end - 1]) for end in ends] == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=2e-3)
    assert ends[-1] == 1001


def test_each_slot_has_a_timestep_where_all_is_confused_at_once():
    assert confused_ends(torch.tensor([0.0, 0.5, 0.5, 0.5]), 4) == (1, 2, 3, 4)
    assert confused_ends(torch.tensor([0.0, 0.0, 0.0, 0.5]), 4) == (1, 2, 3, 4)
    assert confused_ends(torch.zeros(5), 1) == (5,)
    with pytest.raises(BadInput, match="too few for 3 slots"):
        confused_ends(torch.zeros(2), 3)


def test_distances_are_those_of_pairs_along_principal_directions():
    points = (
        torch.randn(60, 2, 1, 1, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 0.5])[:, None, None]
    )
    found = direction_distances(points)
    rows = points.flatten(1).double()
    pairs = (rows[:, None] - rows[None]).reshape(-1, 2)
    _, directions = torch.linalg.eigh(rows.T.cov())
    along = (pairs @ directions).square().sum(0) / (60 * 59)  # of all ordered pairs of different points
    torch.testing.assert_close(found, along.sqrt().flip(0))
