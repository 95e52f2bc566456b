import torch

from intaglio.explain.bias.code_dictionary import random_codes

SMALL = {
    "samples": 6, "batch": 2, "steps": 2, "words": (" red", " dog", " cat"), "expansion": 1, "active": 2, "updates": 3,
    "features": 2,
}  # fmt: skip
BAD = {"strength": -1.0}
PIECES = {"batch": 1}


def test_codes_are_drawn_from_those_that_act_and_are_not_taken():
    live = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.0, 3.0])
    taken = torch.tensor([[0], [2]])
    found = random_codes(live, taken, 3, 7, "x")
    assert [set(row.tolist()) for row in found] == [{2, 3, 5}, {0, 3, 5}]
    assert torch.equal(found, random_codes(live, taken, 3, 7, "x"))
    drawn = {tuple(random_codes(live, taken, 1, seed, "x")[0].tolist()) for seed in range(12)}
    assert drawn == {(2,), (3,), (5,)}
