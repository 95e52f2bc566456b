import math

import pytest
import torch

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink.row_weights import bias_weights, last_features, variances


def test_variances_are_scaled_among_rows_of_like_timesteps():
    t = torch.tensor([900, 10, 910, 20, 930, 40])
    v = torch.tensor([100.0, 90.0, 300.0, 490.0, 150.0, 290.0])
    scaled = [0.0, 0.0, 1.0, 1.0, 0.25, 0.5]
    wanted = [math.exp(0.3 * one) - 0.3 for one in scaled]
    assert bias_weights(v, t, strata=2).tolist() == pytest.approx(wanted)
    assert all(0.7 - 1e-6 <= one <= math.exp(0.3) - 0.3 + 1e-6 for one in wanted)


def test_without_powers_and_offsets_every_row_counts_1():
    v, t = torch.rand(7, generator=torch.Generator().manual_seed(0)), torch.arange(7)
    assert bias_weights(v, t, alpha=0.0, beta=0.0).tolist() == [1.0] * 7


def test_a_row_whose_features_vary_more_counts_more():
    v = torch.tensor([0.1, 0.5, 0.2, 0.9])
    weights = bias_weights(v, torch.zeros(4, dtype=torch.long), strata=1)
    assert torch.equal(weights.argsort(), v.argsort())


def test_features_that_do_not_vary_give_the_least_weight_and_no_nan():
    for count in (1, 3, 8):
        weights = bias_weights(torch.full((count,), 2.0), torch.arange(count))
        assert weights.tolist() == pytest.approx([0.7] * count)


def test_the_features_are_those_that_the_last_layer_is_given(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "m"))
    latents = torch.randn(2, tiny.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    t, given = torch.tensor([3, 700]), model.embed(["red cat", "dog"])
    with torch.no_grad(), last_features(model.denoiser) as features:
        found = model.predict(latents, t, given)
        model.denoiser.conv_out(features[0])
    again = torch.nn.functional.conv2d(
        features[0], model.denoiser.conv_out.weight, model.denoiser.conv_out.bias, padding=1
    )
    torch.testing.assert_close(again, found)
    flat = features[0].flatten(1)
    wanted = (flat - flat.mean(1, keepdim=True)).square().sum(1) / (flat.shape[1] - 1)
    torch.testing.assert_close(variances(features[0]), wanted)
