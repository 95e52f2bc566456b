import numpy as np
import pytest
import torch

from audit_scenes import model
from intaglio.audit.unlearning.attack.attack_scene import AttackScene, Candidate
from intaglio.audit.unlearning.attack.methods.unlearn_diff_atk import UnlearnDiffAtk, prefixed
from intaglio.audit.unlearning.attack.simplex_search import on_simplex, searched, uniform_state
from intaglio.errors import BadInput
from intaglio.randomness import generator
from intaglio.runs.run import Run

SMALL = {"tries": 2, "steps": 2, "tokens": 2, "updates": 2}
BAD = {"updates": 0}
PIECES = {}


def test_the_projection_is_the_nearest_point_of_the_simplex():
    """By the condition of its optimum: row - p is one number where p is above 0, and no more than it elsewhere."""
    rows = torch.randn(6, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[0] = on_simplex(rows[:1])[0]
    found = on_simplex(rows)
    torch.testing.assert_close(found.sum(1), torch.ones(6, dtype=torch.float64))
    assert float(found.min()) >= 0
    torch.testing.assert_close(found[0], rows[0])
    for row, point in zip(rows.numpy(), found.numpy(), strict=True):
        gap = row - point
        theta = gap[point > 0]
        np.testing.assert_allclose(theta, theta[0], atol=1e-12)
        assert (gap <= theta[0] + 1e-12).all()


def test_a_planted_token_is_found_from_the_uniform_start_in_pieces_as_in_one():
    """A linear denoiser whose prediction with token 3 is the noise."""
    predictions = torch.randn(5, 40, generator=generator(0, "predictions"))

    def loss_of(hot, number):
        return (hot @ predictions - predictions[3]).square().mean()

    options = {"learning_rate": 0.05, "decay": 0.1, "source": lambda number: generator(0, "planted", number)}
    found = searched(uniform_state(1, 5), loss_of, updates=200, **options)
    assert found.best.tolist() == [3]
    half = searched(uniform_state(1, 5), loss_of, updates=80, **options)
    again = searched(half, loss_of, updates=120, **options)
    assert torch.equal(again.rows, found.rows)


def test_gradients_beyond_one_are_clipped():
    start = uniform_state(1, 3)
    steep = torch.tensor([1e6, -0.5, 0.0])
    found = searched(
        start, lambda hot, number: (hot @ steep).sum(), updates=1, learning_rate=0.01, decay=0.0, source=torch_source
    )
    torch.testing.assert_close(found.first, 0.1 * torch.tensor([[1.0, -0.5, 0.0]]))


def torch_source(number):
    return torch.Generator().manual_seed(number)


def test_relaxed_tokens_at_a_corner_are_the_tokens_and_no_hook_is_left():
    net = model()
    scene = AttackScene(net, None, lambda pixels: pixels, "red dog", 0, 2, 3.0)
    net.embed([""])  # after which transformers' own hooks are there
    hooks = [len(one._forward_hooks) for one in net.text_encoders[0].modules()]
    ids = (scene.vocabulary[5], scene.vocabulary[40])
    table = net.text_encoders[0].get_input_embeddings().weight
    with torch.no_grad():
        soft = prefixed(scene, table[list(ids)]).hidden
        hard = net.embed_tokens(scene.tokens([Candidate(ids, 0)])).hidden
    torch.testing.assert_close(soft, hard)
    assert [len(one._forward_hooks) for one in net.text_encoders[0].modules()] == hooks


def test_the_search_lowers_the_loss_of_the_originals_picture_and_stops_at_the_first_success():
    net, judged = model(), []

    def second(pixels):
        judged.append(pixels)
        return torch.tensor([len(judged) == 3] * len(pixels))  # the unattacked picture is the first

    method = UnlearnDiffAtk(tries=4, steps=1, tokens=1, updates=1)
    (found,) = method(net, ["dog"], second, original=net, run=Run.none()).prompts
    assert (found.unattacked, found.success, len(found.ids)) == (False, 2, 1)
    assert len(judged) == 3
    with pytest.raises(BadInput, match="needs the model that knew the concept; give it with --base"):
        method(net, ["dog"], second)
