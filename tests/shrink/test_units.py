import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink.layers import weight_layers
from intaglio.shrink.skip_halves import skip_groups
from intaglio.shrink.unit_rows import unit_rows
from intaglio.shrink.units import denoiser_units
from shrink_scenes import planted_rows


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("base")))


def test_units_hold_every_layer_once(model):
    held = [layer.name for unit in denoiser_units(model) for layer in unit.layers.values()]
    assert sorted(held) == sorted(layer.name for layer in weight_layers(model))
    for unit in denoiser_units(model):
        for name, layer in unit.layers.items():
            assert unit.module.get_parameter(name) is layer.module.weight


def test_units_stand_in_the_order_of_the_u_net(model):
    paths = [unit.path for unit in denoiser_units(model)]
    wanted = ["time_embedding", "conv_in", "down_blocks.0.resnets.0", "down_blocks.0.attentions.0.proj_in"]
    assert paths[:4] == wanted
    assert paths[-1] == "conv_out"
    heads = list(dict.fromkeys(path.split(".")[0] for path in paths))
    assert heads == ["time_embedding", "conv_in", "down_blocks", "mid_block", "up_blocks", "conv_out"]
    blocks = [type(unit.module) for unit in denoiser_units(model)]
    modules = list(model.denoiser.modules())
    for kind in (ResnetBlock2D, BasicTransformerBlock):
        assert blocks.count(kind) == sum(isinstance(one, kind) for one in modules)


def test_a_unit_of_the_second_embedding_is_found_in_the_larger_layout(tmp_path):
    model = load_model(tiny.sdxl_folder(tmp_path / "xl"))
    units = denoiser_units(model)
    assert [unit.path for unit in units[:2]] == ["time_embedding", "add_embedding"]
    assert sum(len(unit.layers) for unit in units) == len(weight_layers(model))


@pytest.mark.parametrize("path", ["time_embedding", "down_blocks.0.resnets.0", "mid_block.attentions.0.proj_in"])
def test_rows_of_a_unit_are_what_hooks_see(model, path):
    """Of equal models: the output on the captured arguments is the captured target, row by row in any order."""
    rows = planted_rows(12)
    found = unit_rows(model, model.copy(), path, rows)
    (unit,) = [one for one in denoiser_units(model) if one.path == path]
    picked = torch.tensor([7, 2])
    given, named, targets = found.take(picked, torch.device("cpu"))
    assert len(found) == len(rows)
    with torch.no_grad():
        assert torch.allclose(unit({}, given, named), targets, atol=1e-5)
    seen = []
    hook = unit.module.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    (one,) = rows.batches(model, len(rows))
    with torch.no_grad(), model.frozen():
        model.predict(*one)
    hook.remove()
    assert torch.allclose(seen[0][picked], targets, atol=1e-5)


def test_inputs_are_those_of_the_partly_shrunk_model_and_targets_those_of_the_full(model):
    """With conv_in of the partly shrunk model at zero, its first block is given its bias, and is to give the same."""
    rows, partly, path = planted_rows(6), model.copy(), "down_blocks.0.resnets.0"
    with torch.no_grad():
        partly.denoiser.conv_in.weight.zero_()
    whole, found = unit_rows(model, model, path, rows), unit_rows(model, partly, path, rows)
    bias = model.denoiser.conv_in.bias.detach().view(1, -1, 1, 1)
    assert torch.allclose(found.given[0], bias.expand_as(found.given[0]), atol=1e-6)
    assert torch.equal(found.targets, whole.targets)
    assert not torch.allclose(found.given[0], whole.given[0])


def test_large_rows_are_kept_in_half_precision(model, monkeypatch):
    from intaglio.shrink import unit_rows as module

    monkeypatch.setattr(module, "LARGE", 10.0)
    found = unit_rows(model, model, "conv_in", planted_rows(6))
    assert found.targets.dtype == found.given[0].dtype == torch.float16
    assert found.take(torch.tensor([0]), torch.device("cpu")).targets.dtype == torch.float32


def test_concatenations_are_split_where_the_skip_begins(model):
    """Widths 8 and 16 of the tiny U-Net, one residual block down and two up a resolution."""
    groups = skip_groups(model.denoiser)
    wanted = {"0.resnets.0": (16, 16), "0.resnets.1": (16, 8), "1.resnets.0": (16, 8), "1.resnets.1": (8, 8)}
    for place, (hidden, skip) in wanted.items():
        layer = model.denoiser.get_submodule(f"up_blocks.{place}.conv1")
        assert layer.in_channels == hidden + skip
        group = groups[f"up_blocks.{place}.conv1"]
        assert hidden % group == 0 == skip % group
        assert group == groups[f"up_blocks.{place}.conv_shortcut"]
    assert len(groups) == 8
