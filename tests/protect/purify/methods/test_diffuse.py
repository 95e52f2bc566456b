"""diffuse: more timesteps change more; no model is an error; odd sizes are filled up and cut again."""

import pytest
import torch

from intaglio.protect.purify.methods.diffuse import Diffusing
from protect_scenes import levels, model

SMALL = {"steps": 2, "share": 0.2}
BAD = {"share": 1.5}
PIECES = {}


def test_diffusing_less_changes_less_and_leaves_the_model_as_found():
    net, given = model(), levels()
    before = net.fingerprint
    little, much = (Diffusing(share=share).clean(given, net, 0) for share in (0.02, 0.6))
    assert float((little - much).abs().max()) > 0
    passed = net.decode(net.encode(given).detach()).detach()
    assert float((little - passed).abs().mean()) < float((much - passed).abs().mean())
    assert net.fingerprint == before
    assert all(weight.requires_grad for weight in net.parts["denoiser"].parameters())


def test_without_its_model_nothing_is_cleaned():
    with pytest.raises(ValueError, match="needs a model"):
        Diffusing().clean(levels(), None, 0)


@pytest.mark.parametrize("size", [(13, 21), (5, 40)])
def test_pictures_of_any_size_keep_it(size):
    found = Diffusing(steps=1).clean(torch.rand(1, 3, *size), model(), 0)
    assert found.shape == (1, 3, *size)
