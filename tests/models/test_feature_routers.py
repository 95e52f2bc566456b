import math

import pytest
import torch

from intaglio.models.diffusion.feature_routers import LAST, FeatureRouters, sinusoids


def some(shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stirred(networks=3, width=16):
    """Routers far from their first weights."""
    routers = FeatureRouters(networks, [4, 6], 10, width, seed=0)
    with torch.no_grad():
        for place, weight in enumerate(routers.parameters()):
            weight.add_(0.3 * some(weight.shape, place))
    return routers


T, TEXT, FEATURES = torch.tensor([5, 800]), some((2, 7, 10), 1), some((2, 3, 4, 5, 5), 2)


def test_equal_features_are_given_back_whatever_the_weights():
    same = FEATURES[:, :1].expand(-1, 3, -1, -1, -1)
    assert torch.allclose(stirred()(0, same, T, TEXT), FEATURES[:, 0], atol=1e-5)


def test_one_feature_is_given_back_as_it_is():
    assert torch.equal(stirred(1)(1, some((2, 1, 6, 5, 5), 3), T, TEXT), some((2, 1, 6, 5, 5), 3)[:, 0])


def test_a_last_convolution_of_zeros_gives_the_mean():
    routers = stirred()
    torch.nn.init.zeros_(routers.of_place[0].last.weight)
    torch.nn.init.zeros_(routers.of_place[0].last.bias)
    assert torch.allclose(routers(0, FEATURES, T, TEXT), FEATURES.mean(1), atol=1e-6)


def test_at_first_it_is_nearly_the_mean_and_every_layer_has_a_gradient():
    routers = FeatureRouters(3, [4, 6], 10, 32, seed=0)
    merged = routers(0, FEATURES, T, TEXT)
    assert 0 < (merged - FEATURES.mean(1)).abs().max() < 0.1
    assert float(routers.of_place[0].last.weight.detach().std()) == pytest.approx(LAST, rel=0.3)
    merged.square().sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in routers.of_place[0].parameters())
    assert all(weight.grad is None for weight in routers.of_place[1].parameters())


def test_weights_are_the_softmax_over_networks_of_the_last_convolution_at_each_pixel():
    router, seen = stirred().of_place[0], []
    router.last.register_forward_hook(lambda module, given, output: seen.append(output))
    weights = router(FEATURES, T, TEXT)
    (logits,) = seen
    wanted = logits.exp() / logits.exp().sum(1, keepdim=True)
    assert torch.allclose(weights, wanted, atol=1e-5)
    assert weights.flatten(2).std(2).min() > 1e-3
    by_hand = sum(weights[:, i, None] * FEATURES[:, i] for i in range(3))
    routers = stirred()
    assert torch.allclose(routers(0, FEATURES, T, TEXT), by_hand, atol=1e-5)


def test_weights_depend_on_features_timestep_and_text():
    router = stirred().of_place[0]
    first = router(FEATURES, T, TEXT)
    others = [(FEATURES.flip(1), T, TEXT), (FEATURES, T + 100, TEXT), (FEATURES, T, TEXT.flip(0))]
    assert all((router(*given) - first).abs().max() > 1e-3 for given in others)


def test_first_weights_are_the_seeds_alone():
    torch.manual_seed(1)
    one, two, three = (FeatureRouters(2, [4], 10, 8, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["of_place.0.first.weight"], three["of_place.0.first.weight"])
    assert all(value.isfinite().all() for value in one.values())


def test_sinusoids_have_periods_in_geometric_progression():
    found = sinusoids(torch.tensor([3]), 4)[0]
    wanted = [math.sin(3), math.sin(0.03), math.cos(3), math.cos(0.03)]
    assert torch.allclose(found, torch.tensor(wanted), atol=1e-6)


def test_features_keep_their_precision():
    assert stirred()(0, FEATURES.bfloat16(), T, TEXT).dtype == torch.bfloat16
