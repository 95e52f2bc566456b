import pytest
import torch

from audit_scenes import model
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.methods.uce import TextStates, UnifiedConceptEditing
from intaglio.audit.unlearning.unet_modules import chosen_weights

SMALL = {"tokens": "all"}
BAD = {"regularisation": 0.0}
PIECES = {}
VARIANTS = {"last": {"SMALL": {"tokens": "last"}, "BAD": {"keep_scale": -1.0}, "PIECES": {}}}


def planted(rows=(3, 3, 4), width=7):
    source = torch.Generator().manual_seed(0)
    drawn = [torch.randn(count, width, generator=source, dtype=torch.float64) for count in rows]
    return torch.randn(5, width, generator=source, dtype=torch.float64), TextStates(*drawn)


def test_the_gradient_of_what_is_minimised_is_zero():
    method = UnifiedConceptEditing(regularisation=0.3, erase_scale=2.0, keep_scale=0.7)
    weight, (c, g, p) = planted()
    found = method.solved(weight, TextStates(c, g, p)).requires_grad_()
    erased = 2.0 * ((c @ found.T - g @ weight.T) ** 2).sum()
    kept = 0.7 * ((p @ found.T - p @ weight.T) ** 2).sum()
    (erased + kept + 0.3 * ((found - weight) ** 2).sum()).backward()
    assert found.grad is not None
    assert float(found.grad.abs().max()) < 1e-11


def test_one_unit_state_moves_by_its_share_and_what_is_orthogonal_to_it_stays():
    weight, _ = planted()
    c, other = torch.eye(7, dtype=torch.float64)[:2]
    guide = torch.linspace(-1, 1, 7, dtype=torch.float64)
    none = torch.zeros(0, 7, dtype=torch.float64)
    found = UnifiedConceptEditing(regularisation=0.25).solved(weight, TextStates(c[None], guide[None], none))
    torch.testing.assert_close(found @ c, (weight @ guide + 0.25 * weight @ c) / 1.25)
    assert torch.equal(found @ other, weight @ other)


@pytest.mark.parametrize(
    ("tokens", "edited", "guide"),
    [
        ("last", [3], [2]),  # dog to cat
        ("subject", [2], [2]),  # "red", which neither anchors nor kept prompts have, to "cat", which no prompt has
        ("all", list(range(1, 12)), list(range(1, 12))),
    ],
)
def test_the_states_that_are_asked_for_are_led_to_the_anchors(tokens, edited, guide):
    net = model()
    concept = Concept(("a red dog",), ("a cat",), ("dog",))
    found = UnifiedConceptEditing(tokens=tokens, regularisation=1e-9, keep_scale=0.0)(net, concept).model
    of_concept, of_anchor = net.embed(["a red dog", "a cat"]).hidden.double()
    named = chosen_weights(net.denoiser, "x-strict")
    assert named
    changed = chosen_weights(found.denoiser, "x-strict")
    name = next(iter(named))
    before, after = (one[name].double() for one in (named, changed))
    if tokens == "all":  # more states than dimensions: only the fit can be judged
        wanted, rest = of_anchor[guide] @ before.T, of_concept[edited]
        assert ((rest @ after.T - wanted) ** 2).sum() < 0.9 * ((rest @ before.T - wanted) ** 2).sum()
        return
    torch.testing.assert_close(of_concept[edited] @ after.T, of_anchor[guide] @ before.T, rtol=1e-3, atol=1e-4)


def test_the_empty_anchor_is_the_state_of_its_begin_token_and_kept_prompts_are_held():
    net = model()
    concept = Concept(("red",), ("",), ("dog",))
    found = UnifiedConceptEditing(regularisation=1e-9)(net, concept).model
    name = next(iter(chosen_weights(net.denoiser, "x-strict")))
    before, after = (chosen_weights(one.denoiser, "x-strict")[name].double() for one in (net, found))
    red, blank, dog = net.embed(["red", "", "dog"]).hidden.double()
    torch.testing.assert_close(after @ red[1], before @ blank[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(after @ dog[1], before @ dog[1], rtol=1e-3, atol=1e-4)
