import pytest
import torch

from audit_scenes import model
from intaglio.audit.unlearning.attack.attack_scene import AttackScene, Candidate
from intaglio.audit.unlearning.attack.methods.random_tokens import RandomTokens
from intaglio.errors import BadInput

SMALL = {"tries": 3, "steps": 2, "batch": 2, "tokens": 2}
BAD = {"tokens": 0}
PIECES = {"batch": 1}


def nothing(pixels):
    return torch.zeros(len(pixels), dtype=torch.bool)


def test_the_tokens_stand_between_the_begin_and_the_prompt():
    net = model()
    scene = AttackScene(net, None, nothing, "red dog", 0, 2, 3.0)
    (plain,) = net.tokens(["red dog"])[0]
    (row,) = scene.tokens([Candidate((7, 9), 0)])[0]
    assert row.tolist() == [plain[0].item(), 7, 9, *plain[1:-2].tolist()]
    other = net.tokens(["cat red dog"])[0]
    (cat,) = other[0, 1:2].tolist()
    torch.testing.assert_close(scene.tokens([Candidate((cat,), 0)])[0], other)
    assert not set(scene.vocabulary) & {net.tokenizers[0].bos_token_id, net.tokenizers[0].eos_token_id}


def test_tokens_are_other_ones_at_each_try_before_the_same_noise():
    net, seen = model(), []
    scene = RandomTokens(tries=3, steps=1, tokens=2, batch=1)

    def draw(self, candidates):
        seen.extend(candidates)
        return torch.zeros(len(candidates), 3, 16, 16)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(AttackScene, "draw", draw)
        scene(net, ["dog"], nothing)
    plain, *tries = seen
    assert plain.ids == ()
    assert {one.seed for one in tries} == {plain.seed}
    assert len({one.ids for one in tries}) == 3


def test_a_prompt_that_leaves_no_room_is_refused():
    with pytest.raises(BadInput, match=r"takes 10 of the 12 tokens that tiny-0 reads, so that 3 more do not fit"):
        RandomTokens()(model(), ["red dog cat a red dog cat a"], nothing)
