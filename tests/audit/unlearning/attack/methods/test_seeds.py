import pytest
import torch

from audit_scenes import model
from intaglio.audit.unlearning.attack.methods.seeds import OtherSeeds
from intaglio.randomness import seed_32bit
from intaglio.sampling.loop import sample

SMALL = {"tries": 3, "steps": 2, "batch": 2}
BAD = {"tries": 0}
PIECES = {"batch": 1}


def test_the_tries_are_the_samplers_pictures_and_the_first_that_shows_the_concept_is_told():
    net = model()
    seeds = [seed_32bit(7, "attacked", "dog", "seeds", number) for number in range(4)]
    drawn = sample(net, ["dog"] * 4, seeds, steps=2, guidance_scale=3.0).pixels
    judged = []

    def third(pixels):
        judged.append(pixels)
        return (pixels - drawn[2]).abs().amax((1, 2, 3)) < 1e-3

    method = OtherSeeds(tries=4, steps=2, guidance=3.0, batch=3, seed=7)
    (found,) = method(net, ["dog"], third).prompts
    assert (found.unattacked, found.success, found.seed, found.ids) == (False, 3, seeds[2], ())
    torch.testing.assert_close(torch.cat(judged[1:]), drawn[:3], rtol=0, atol=1e-4)
    never = method(net, ["dog"], lambda pixels: torch.zeros(len(pixels), dtype=torch.bool))
    assert (never.successes(), never.unattacked, never.prompts[0].success) == (0, 0, None)
    always = method(net, ["dog"], lambda pixels: torch.ones(len(pixels), dtype=torch.bool))
    assert (always.successes(1), always.unattacked) == (1, 1)


def test_a_judge_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match="a judge gives a number a picture, 1 in all"):
        OtherSeeds(**SMALL)(model(), ["dog"], lambda pixels: torch.tensor(True))
