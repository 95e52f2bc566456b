import torch

from component_scenes import WIDTH, Planted, planted_point
from intaglio.explain.components.methods.activation_patching import ActivationPatching

SMALL = {"draws": 2, "steps": 2, "branches": "attention", "unit": "branch"}
BAD = {"seed": -1}
PIECES = {"batch": 1}


def test_the_metric_is_that_of_a_run_in_which_one_channel_has_its_clean_value():
    model = Planted(torch.tanh)
    point = planted_point(model)
    second = model.denoiser.second.weight
    x, y = point.latents[0, 0], point.latents[0, 0] + point.corrupted_values[0][0]
    base = y + torch.tanh(y @ second.T)
    expected = []
    for c in range(WIDTH):
        moved = point.corrupted_values[0][0].clone()
        moved[:, c] = point.clean_values[0][0][:, c]
        found = x + moved + torch.tanh((x + moved) @ second.T)
        expected.append(((found - base) * point.way[0, 0]).sum() / point.way.square().sum())
    (effects,) = ActivationPatching(batch=3).effects(point, [0])
    torch.testing.assert_close(effects, torch.stack(expected))
    assert model.asked == ActivationPatching().passes([WIDTH])
