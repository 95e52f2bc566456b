import pytest
import torch

from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.sampling.calls import Calls
from intaglio.sampling.methods.perp_neg import PerpNeg, perpendicular

SMALL = {}
BAD = {"weight": -1.0}
PIECES = {}

MODEL = ExactMixture(
    torch.tensor([[[[-1.0]]], [[[2.0]]], [[[0.5]]]]),
    torch.tensor([0.1, 0.3, 0.2]),
    {"": [0.0, 0.0, 0.0], "right": [-9.0, 0.0, -9.0], "middle": [-3.0, -3.0, 0.0], "same": [-9.0, 0.0, -9.0]},
)


def combined(neutral, positive, negatives, **settings):
    """The noise that the guide makes of given predictions, each [n, c, h, w]."""
    n = len(neutral)
    rows = torch.cat([neutral, positive, *negatives])
    state = Conditioning(torch.zeros(len(rows), 1, 1))
    latents, t = torch.zeros_like(neutral), torch.zeros(n, dtype=torch.long)
    found = PerpNeg(**settings).step(state, latents, t, lambda x, times, given: rows)[1]
    assert len(found) == n
    return found


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_formula_written_out_a_picture_at_a_time():
    neutral, positive, one, two = (random(3, 2, 4, 4, seed=k) for k in range(4))
    found = combined(neutral, positive, [one, two], scale=3.0, weight=0.7)
    for k in range(3):
        d = (positive[k] - neutral[k]).double()
        expected = d.clone()
        for negative in (one[k], two[k]):
            away = (negative - neutral[k]).double()
            expected -= 0.7 * (away - (away * d).sum() / (d * d).sum() * d)
        assert torch.allclose(found[k].double(), neutral[k] + 3.0 * expected, atol=1e-5)


def test_a_negative_like_the_prompt_is_plain_guidance():
    neutral, positive = random(2, 2, 4, 4), random(2, 2, 4, 4, seed=1)
    plain = neutral + 3.0 * (positive - neutral)
    assert torch.allclose(combined(neutral, positive, [positive], scale=3.0), plain, atol=1e-5)


def test_a_perpendicular_negative_is_subtracted_whole():
    neutral = random(1, 2, 2, 2)
    towards, away = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    towards[0, 0, 0, 0], away[0, 1, 1, 1] = 2.0, -3.0
    found = combined(neutral, neutral + towards, [neutral + away], scale=2.0, weight=1.5)
    assert torch.allclose(found, neutral + 2.0 * (towards - 1.5 * away), atol=1e-6)


def test_what_a_negative_shares_with_the_prompt_makes_no_difference():
    neutral, positive, negative = (random(2, 2, 4, 4, seed=k) for k in range(3))
    shifted = negative + 5.0 * (positive - neutral)
    one, two = (combined(neutral, positive, [given]) for given in (negative, shifted))
    assert torch.allclose(one, two, atol=1e-4)


def test_a_prompt_without_a_direction_divides_by_nothing():
    neutral = random(2, 2, 4, 4)
    negative = neutral + 1e-3
    found = combined(neutral, neutral, [negative], scale=2.0, weight=1.0)
    assert torch.allclose(found, neutral - 2.0 * (negative - neutral), atol=1e-6)
    assert torch.equal(perpendicular(neutral, torch.zeros_like(neutral)), neutral)


def test_the_neutral_branch_is_the_empty_prompt_and_negatives_stand_apart():
    heard = []

    class Told(ExactMixture):
        def embed(self, prompts, *, negative=False):
            heard.extend(prompts)
            return super().embed(prompts, negative=negative)

    prompts = {**{text: row.tolist() for text, row in MODEL.prompts.items()}, "middle | same": [0.0, 0.0, 0.0]}
    told = Told(MODEL.means, MODEL.variances, prompts)
    calls = Calls()
    negative = "middle | same"
    drawn(told, PerpNeg(), prompt="right", count=2, steps=3, negative=negative, calls=calls)
    assert calls == Calls(forward=2 * 3 * 4)
    assert {"", "right", "middle", "same"} <= set(heard)


def test_pictures_do_not_touch_each_other():
    whole = drawn(MODEL, PerpNeg(), prompt="right", count=4, steps=5, negative="middle")
    assert torch.allclose(drawn(MODEL, PerpNeg(), prompt="right", count=1, steps=5, negative="middle"), whole[:1])


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(BadInput, match="there is none; give --negative"):
        drawn(MODEL, PerpNeg(), prompt="right", count=1, steps=2)
    with pytest.raises(BadInput, match="'right' is a prompt too"):
        drawn(MODEL, PerpNeg(), prompt="right", count=1, steps=2, negative="middle | right")
