import torch

from intaglio.explain.encodings.methods.one_slot import OneSlot

SMALL = {
    "numbers": 8, "width": 8, "steps": 4, "batch": 4, "levels": 3, "pairs": 1, "swap_steps": 2, "folds": 2
}  # fmt: skip
BAD = {"numbers": 0}
PIECES = {"at_once": 4}


def test_all_numbers_are_given_at_every_timestep():
    slots = OneSlot(numbers=5).slots(torch.linspace(0, 0.5, 20))
    assert slots.given(torch.arange(20)).bool().all()
    assert (slots.ends, slots.sizes) == ((20,), (5,))
