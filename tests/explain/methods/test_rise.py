import itertools

import torch

from explain_scenes import SIDE, pictures, planted
from intaglio.explain.methods.rise import RISE

SMALL = {"masks": 20, "grid": 4}
BAD = {"share": 1.0}
PIECES = {"batch": 3}


def test_the_map_of_a_sum_is_its_terms(monkeypatch):
    """Binary cells, all masks: S_i = (1 - p) a_i + p sum a; less the mean score, (1 - p) a_i."""
    terms = torch.tensor([0.3, 0.9, -0.4, 0.5])
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(-1, 2, 2)
    masks = every.repeat_interleave(8, 1).repeat_interleave(8, 2)
    monkeypatch.setattr(RISE, "_mask", lambda self, shape, content, number: masks[number])

    def logit(pixels):
        return (pixels[:, 0] != 1).view(-1, 2, 8, 2, 8).any(4).any(2).flatten(1).float() @ terms

    found = RISE(masks=16, batch=5, blank="white").attributed(planted(logit), pictures(1).pixels[0], 0, "a")
    torch.testing.assert_close(found.map[::15, ::15].flatten(), 0.5 * terms)


def test_a_mask_follows_from_its_number_and_covers_its_share():
    method = RISE(grid=4, share=0.3)
    masks = torch.stack([method._mask((SIDE, 24), "a", number) for number in range(400)])
    assert masks.shape == (400, SIDE, 24)
    assert abs(float(masks.mean()) - 0.3) < 0.02
    assert float(masks.min()) == 0.0
    assert float(masks.max()) == 1.0
    torch.testing.assert_close(method._mask((SIDE, 24), "a", 7), masks[7])
    assert not torch.equal(masks[7], method._mask((SIDE, 24), "b", 7))
