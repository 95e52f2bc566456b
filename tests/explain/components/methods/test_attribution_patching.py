import torch

from component_scenes import WIDTH, Planted, planted_point
from intaglio.explain.components.methods.activation_patching import ActivationPatching
from intaglio.explain.components.methods.attribution_patching import AttributionPatching
from intaglio.explain.components.methods.ig_patching import IntegratedPatching
from intaglio.explain.components.methods.relp import RelevancePatching

SMALL = {"draws": 3, "steps": 2, "branches": "feed-forward"}
BAD = {"steps": 0}
PIECES = {"batch": 1}


def test_on_a_linear_network_every_method_gives_the_effects_by_hand():
    model = Planted()
    point = planted_point(model)
    second = model.denoiser.second.weight
    step = ((point.clean_values[0] - point.corrupted_values[0])[0, 0]).double()  # the same at each of three tokens
    onward = torch.eye(WIDTH, dtype=torch.float64) + second.double()
    way = onward @ step
    alone = torch.stack([onward[:, c] * step[c] @ way for c in range(WIDTH)]) / way.square().sum()
    after = (second.double() @ step) * way / way.square().sum()
    assert abs(float(alone.sum()) - 1) < 1e-9  # all goes through the first branch
    for method in (AttributionPatching(), RelevancePatching(), IntegratedPatching(points=3), ActivationPatching()):
        found = method.effects(point, [0, 1])
        torch.testing.assert_close(found[0].double(), alone, rtol=1e-4, atol=1e-5, msg=method.name)
        torch.testing.assert_close(found[1].double(), after, rtol=1e-4, atol=1e-5, msg=method.name)
        whole = method.effects(planted_point(model, whole=True), [0, 1])
        torch.testing.assert_close(torch.cat(whole), torch.stack([one.sum() for one in found]), rtol=1e-4, atol=1e-5)


def test_the_derivative_is_taken_in_the_corrupted_run():
    point = planted_point(Planted(lambda x: x**2 / 2))
    change = point.clean_values[1] - point.corrupted_values[1]
    own = (change * point.way[:, 0] / point.way.square().sum()).sum((0, 1))
    (last,) = AttributionPatching().effects(point, [1])
    torch.testing.assert_close(last, own)
    # y + A2(y)^2 / 2 at y of the corrupted run, by each channel of y
    weight, y = point.model.denoiser.second.weight, point.latents[0, 0] + point.corrupted_values[0][0]
    inner = y @ weight.T
    onward = torch.eye(WIDTH) + inner[:, :, None] * weight  # [token, output, channel]
    moved = torch.einsum("lo,loc->lc", point.way[0, 0] / point.way.square().sum(), onward)
    (first,) = AttributionPatching().effects(point, [0])
    torch.testing.assert_close(first, ((point.clean_values[0] - point.corrupted_values[0])[0] * moved).sum(0))
