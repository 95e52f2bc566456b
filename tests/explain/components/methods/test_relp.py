import pytest
import torch
from torch import nn
from torch.nn import functional

import tiny
from component_scenes import Planted, planted_point
from intaglio.explain.components.methods.attribution_patching import AttributionPatching
from intaglio.explain.components.methods.relp import RelevancePatching
from intaglio.explain.components.relevance_rules import RelevanceRules
from intaglio.models.diffusion.loading import load_model

SMALL = {"draws": 3, "steps": 2, "branches": "attention", "unit": "branch"}
BAD = {"draws": 0}
PIECES = {"batch": 1}
EVERY = ("normalisation", "activation", "product", "attention")


def coefficients(function, x, names=("normalisation", "activation", "product")):
    given = x.clone().requires_grad_()
    with RelevanceRules(names):
        value = function(given)
    (found,) = torch.autograd.grad(value.sum(), [given])
    return value.detach(), found


@pytest.mark.parametrize(
    "norm",
    [
        lambda x: functional.layer_norm(x, [6], torch.arange(1.0, 7), torch.ones(6)),
        lambda x: functional.group_norm(x, 1, torch.arange(1.0, 7)),
        lambda x: functional.group_norm(x.view(2, 3, 2), 1).flatten(1),
        lambda x: functional.rms_norm(x, [6]),
        lambda x: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6),
    ],
)
def test_behind_a_normalisation_a_change_of_equal_mean_and_scale_is_told_exactly_where_the_gradient_is_wrong(norm):
    corrupted = torch.tensor([[2.0, -1.0, 0.5, 0.0, -3.0, 1.5]]).repeat(2, 1)
    clean = corrupted[:, [3, 2, 0, 5, 1, 4]]
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0, 1.0, -1.0])

    def function(x):
        return norm(x) @ weights

    value, found = coefficients(function, corrupted, ("normalisation",))
    plain_value, plain = coefficients(function, corrupted, ())
    torch.testing.assert_close(value, plain_value)  # what is computed stays
    change = function(clean) - function(corrupted)
    torch.testing.assert_close(((clean - corrupted) * found).sum(1), change)
    assert (((clean - corrupted) * plain).sum(1) - change).abs().min() > 0.1


@pytest.mark.parametrize("gate", [nn.SiLU(), nn.GELU(), nn.GELU(approximate="tanh"), nn.Mish(), nn.ReLU()])
def test_relevance_is_conserved_in_a_gated_network_without_biases(gate):
    draw = torch.Generator().manual_seed(3)
    into, gated, out = (torch.randn(5, 5, generator=draw) for _ in range(3))
    x = torch.randn(4, 5, generator=draw)
    x[0, 0] = 0.0

    def function(given):
        hidden = gate(given @ into)
        return ((hidden * gate(given @ gated)) @ out).sum(1)

    value, found = coefficients(function, x)
    torch.testing.assert_close((x * found).sum(1), value, rtol=1e-5, atol=1e-5)
    plain_value, plain = coefficients(function, x, ())
    torch.testing.assert_close(value, plain_value)
    assert ((x * plain).sum(1) - value).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["plain", "mask", "causal", "scores", "groups"])
def test_attention_with_a_constant_pattern_is_the_fused_one_and_linear_in_its_values(kind):
    draw = torch.Generator().manual_seed(4)
    q, k, v = (torch.randn(1, heads, 3, 8, generator=draw) for heads in (4, 2, 2))
    given = {"mask": {"attn_mask": torch.tensor([[True, True, False]]).repeat(3, 1)}, "causal": {"is_causal": True}}
    given |= {"scores": {"attn_mask": torch.randn(3, 3, generator=draw), "scale": 0.7}}
    if kind != "groups":
        k, v = k.repeat(1, 2, 1, 1), v.repeat(1, 2, 1, 1)
    options = {"enable_gqa": True} if kind == "groups" else given.get(kind, {})
    parts = [one.requires_grad_() for one in (q, k, v)]
    with RelevanceRules(EVERY):
        found = functional.scaled_dot_product_attention(*parts, **options)
    torch.testing.assert_close(found, functional.scaled_dot_product_attention(q, k, v, **options))
    slopes = torch.autograd.grad(found.sum(), parts, allow_unused=True)
    assert slopes[:2] == (None, None)
    torch.testing.assert_close((slopes[2] * v).sum(), found.sum())


def test_no_rule_is_attribution_patching_and_rules_change_no_prediction(tmp_path):
    point = planted_point(Planted(nn.SiLU()))
    none, plain = RelevancePatching(rules=()), AttributionPatching()
    assert all(
        torch.equal(*pair) for pair in zip(none.effects(point, [0, 1]), plain.effects(point, [0, 1]), strict=True)
    )
    model = load_model(tiny.sd_folder(tmp_path / "base"))
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    given = latents, torch.tensor([500]), model.embed(["dog"])
    with RelevanceRules(EVERY):
        found = model.predict(*given)
    torch.testing.assert_close(found, model.predict(*given), rtol=1e-4, atol=1e-5)
