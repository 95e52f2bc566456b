import json
import warnings

import pytest
import torch

import tiny
from edited_networks import drawn, predicted
from intaglio.errors import BadInput
from intaglio.models.diffusion.hidden_widths import narrow
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.long_convolutions import (
    LongConvolution,
    convolved,
    put_long_convolution,
    resampled,
    self_attentions,
)
from intaglio.models.diffusion.removed_branches import remove_branches


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def model(folder):
    return load_model(folder)


@pytest.mark.parametrize("side", [1, 4, 5])
def test_it_is_the_sum_over_places_with_zeros_around_the_grid(side):
    grid, kernel = drawn(2, 3, side, side).double(), drawn(3, 2 * side - 1, 2 * side - 1, seed=1).double()
    wanted = torch.zeros_like(grid)
    for y in range(side):
        for x in range(side):
            for v in range(side):
                for u in range(side):
                    wanted[:, :, y, x] += kernel[:, y - v + side - 1, x - u + side - 1] * grid[:, :, v, u]
    torch.testing.assert_close(convolved(grid, kernel), wanted)
    torch.testing.assert_close(convolved(grid.float(), kernel.float()), wanted.float(), rtol=1e-4, atol=1e-5)


def test_a_grid_that_is_moved_gives_what_is_moved_inside_the_grid():
    kernel, spot = drawn(1, 11, 11), torch.zeros(1, 1, 6, 6)
    spot[0, 0, 1, 2] = 1.0
    here, there = convolved(spot, kernel), convolved(spot.roll((2, 1), (2, 3)), kernel)
    torch.testing.assert_close(there[:, :, 2:, 1:], here[:, :, :-2, :-1], rtol=0, atol=1e-5)


def test_the_module_adds_the_place_itself_and_gates():
    module = LongConvolution(3, 4)
    for k, weight in enumerate(module.parameters()):
        weight.data = drawn(*weight.shape, seed=k)
    hidden = drawn(2, 16, 3, seed=9)
    grid = hidden.transpose(1, 2).view(2, 3, 4, 4)
    y = (convolved(grid, module.kernel) + module.direct.view(3, 1, 1) * grid).flatten(2).transpose(1, 2)
    both = y @ module.to_out.weight.T + module.to_out.bias
    torch.testing.assert_close(module(hidden), both[..., :3] * torch.sigmoid(both[..., 3:]), rtol=1e-4, atol=1e-5)


def test_another_resolution_is_resampled_with_a_warning_and_another_shape_refused(model):
    for scope, side in self_attentions(model.denoiser).items():
        put_long_convolution(model.denoiser, scope, side)
    with pytest.warns(UserWarning, match="places a side is resampled for"):
        assert predicted(model, 16).shape == (2, tiny.CHANNELS, 16, 16)
    with pytest.raises(BadInput, match="as wide as they are high"):
        LongConvolution(2, 4)(torch.zeros(1, 12, 2))


def test_a_resampled_kernel_has_its_taps_in_the_same_places_of_the_picture():
    kernel = drawn(2, 7, 7)
    assert resampled(kernel, 4) is kernel
    finer = resampled(kernel, 8)
    torch.testing.assert_close(finer[:, 1:14:2, 1:14:2], kernel / 4)
    torch.testing.assert_close(finer[:, 7, 8], (kernel[:, 3, 3] + kernel[:, 3, 4]) / 8)


def test_a_model_with_long_convolutions_is_saved_loaded_and_told_apart(model, folder, tmp_path):
    (first, side), (second, _), *_ = self_attentions(model.denoiser).items()
    narrow(model.denoiser, first, [0])
    narrow(model.denoiser, second, [0])
    made = put_long_convolution(model.denoiser, first, side)
    for k, weight in enumerate(made.parameters()):
        weight.data = drawn(*weight.shape, seed=k)
    model.save(tmp_path / "small")
    read = load_model(tmp_path / "small")
    assert not read.notes
    assert torch.equal(predicted(read), predicted(model))
    assert list(read.denoiser.config["hidden_widths"]) == [second]
    assert any("long convolutions" in told for told in model.differences(load_model(folder)))
    remove_branches(read.denoiser, [first])
    read.save(tmp_path / "smaller")
    again = load_model(tmp_path / "smaller")
    assert torch.equal(predicted(again), predicted(read))
    assert not again.denoiser.config["long_convolutions"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (["mid_block"], "long_convolutions"),
        ({"mid_block": "4"}, "mid_block"),
        ({"nowhere": 4}, "nowhere"),
        ({"mid_block.attentions.0.transformer_blocks.0.attn1": 0}, "attn1"),
        ({"mid_block.attentions.0.transformer_blocks.0.attn1": 3}, "kernel"),
    ],
)
def test_modules_that_are_no_self_attentions_and_wrong_sides_are_refused(model, tmp_path, said, told):
    scope = "mid_block.attentions.0.transformer_blocks.0.attn1"
    put_long_convolution(model.denoiser, scope, 4)
    model.save(tmp_path / "small")
    path = tmp_path / "small" / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "long_convolutions": said}))
    with pytest.raises(BadInput, match=told):
        load_model(tmp_path / "small")


def test_odd_grids_are_halved_and_rounded_up_as_the_networks_own(model):
    model.denoiser.register_to_config(sample_size=9)
    sides = self_attentions(model.denoiser)
    assert {(scope.split(".")[0], side) for scope, side in sides.items()} == {
        ("down_blocks", 9),
        ("mid_block", 5),
        ("up_blocks", 9),
    }
    for scope, side in sides.items():
        put_long_convolution(model.denoiser, scope, side)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # nothing is resampled at the network's own resolution
        assert predicted(model, 9).shape == (2, tiny.CHANNELS, 9, 9)
