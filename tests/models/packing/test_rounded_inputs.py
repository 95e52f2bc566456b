import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.packing.rounded_inputs import input_grid, round_inputs, rounded


def test_values_are_rounded_to_the_nearest_code_and_clipped():
    x = torch.tensor([-9.0, -0.8, -0.3, 0.1, 0.26, 9.0])
    assert rounded(x, input_grid(0.25, 3)).tolist() == [-1.0, -0.75, -0.25, 0.0, 0.25, 0.75]


def test_gradients_pass_within_the_range_and_not_beyond():
    x = torch.tensor([-9.0, -0.3, 0.1, 9.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(rounded(x, input_grid(0.25, 3)).sum(), x)
    assert gradient.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_a_layer_rounds_once_however_often_its_grid_is_given():
    layer = nn.Sequential(nn.Linear(2, 1, bias=False))
    layer.load_state_dict({"0.weight": torch.ones(1, 2)})
    round_inputs(layer, {"0": input_grid(1.0, 8)})
    round_inputs(layer, {"0": input_grid(0.25, 8)})
    assert layer(torch.tensor([[0.3, 0.6]])).item() == pytest.approx(0.75)
    assert len(layer[0]._forward_pre_hooks) == 1


def test_scales_are_what_half_precision_holds():
    assert input_grid(0.1, 6).tolist() == [float(torch.tensor(0.1).half()), 6.0]


def test_a_dense_folder_with_grids_is_read_and_one_that_no_layer_can_have_refused(tmp_path):
    folder = tiny.sd_folder(tmp_path / "base")
    (weights,) = (folder / "unet").glob("*.safetensors")
    plain = load_file(weights)
    save_file({**plain, "conv_in.input_grid": torch.tensor([0.5, 4.0])}, weights, metadata={"format": "pt"})
    read = load_model(folder)
    assert read.denoiser.conv_in.input_grid.tolist() == [0.5, 4.0]
    assert read.notes == load_model(tiny.sd_folder(tmp_path / "plain")).notes
    for grid in ([0.0, 8.0], [0.5, 9.0], [0.5, 2.5]):
        save_file({**plain, "conv_in.input_grid": torch.tensor(grid)}, weights, metadata={"format": "pt"})
        with pytest.raises(BadInput, match=r"conv_in.input_grid"):
            load_model(folder)
    save_file({**plain, "conv_norm_out.input_grid": torch.tensor([0.5, 8.0])}, weights, metadata={"format": "pt"})
    assert any("conv_norm_out.input_grid" in note for note in load_model(folder).notes)
