import pytest
import torch

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run
from intaglio.shrink.activation_ranges import InputRanges, best_scale, input_ranges
from intaglio.shrink.calibration_states import drawn_states
from intaglio.shrink.layers import weight_layers
from intaglio.shrink.methods.ptq4dm import PTQ4DM
from intaglio.shrink.methods.rtn import RoundToNearest
from shrink_scenes import planted_rows

SMALL = {"batch": 8}
BAD = {"activation_bits": 1}
PIECES = {"batch": 5}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def found(model):
    return PTQ4DM()(model, planted_rows())


def prediction(model, rows):
    (one,) = rows.batches(model, len(rows))
    with torch.no_grad():
        return model.predict(*one)


def brute(x, bits):
    """The best of all shares, number by number, and its loss."""
    half = 2 ** (bits - 1)
    tried = []
    for share in range(1, 101):
        scale = float(x.abs().max()) / (half - 1) * share / 100
        steps = (x / scale).round().clamp(-half, half - 1)
        tried.append((float((x - steps * scale).abs().pow(2.4).sum()), scale))
    return min(tried)


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_scales_lose_no_more_than_the_best_of_all_shares(bits):
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(0)).double()
    x[:20] *= 6  # a tail that is worth clipping
    top = float(x.abs().max())
    scale = best_scale(top, torch.histc(x, 4096, -top, top), bits)
    half = 2 ** (bits - 1)
    loss = float((x - (x / scale).round().clamp(-half, half - 1) * scale).abs().pow(2.4).sum())
    best, at = brute(x, bits)
    assert loss <= best * 1.01
    assert scale == pytest.approx(at, rel=0.05)
    assert bits == 8 or scale < 0.9 * top / (half - 1)


def test_a_layer_that_is_given_nothing_but_zeros_has_scale_one():
    assert InputRanges(torch.zeros(1), torch.zeros(1, 8, dtype=torch.float64)).scales([8], "mse") == [1.0]


def test_a_scale_that_is_not_clipped_holds_the_largest_input():
    ranges = InputRanges(torch.tensor([6.35]), torch.ones(1, 64, dtype=torch.float64))
    assert ranges.scales([8], "none") == pytest.approx([6.35 / 127])


def test_what_layers_are_given_is_seen_whole(model):
    rows, path = planted_rows(10), "mid_block.resnets.0.conv1"
    seen = []
    hook = model.denoiser.get_submodule(path).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    prediction(model, rows)
    hook.remove()
    ranges = input_ranges(model, [path], rows, batch=4, run=Run.none(), label="test")
    assert float(ranges.largest) == pytest.approx(float(seen[0].abs().max()), rel=1e-5)
    assert float(ranges.counts.sum()) == seen[0].numel()


def test_the_model_rounds_the_inputs_of_every_layer_and_the_loaded_one_as_well(model, found, tmp_path):
    """Each layer is applied by hand to its input, rounded by hand."""
    rows = planted_rows(4)
    read = load_model(found.save(tmp_path))
    assert torch.equal(prediction(read, rows), prediction(found.model, rows))
    seen = {}
    layer = read.denoiser.get_submodule("mid_block.attentions.0.transformer_blocks.0.ff.net.2")
    # The first hook is given what the layer is called with, those after it what is left of it.
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: seen.update(given=given[0]), prepend=True),
        layer.register_forward_hook(lambda _, given, output: seen.update(output=output)),
    ]
    prediction(read, rows)
    for hook in hooks:
        hook.remove()
    scale, bits = layer.input_grid.tolist()
    x = (seen["given"] / scale).round().clamp(-128, 127) * scale
    assert bits == 8
    assert torch.allclose(seen["output"], x @ layer.weight.T + layer.bias, atol=1e-5)
    assert len(set(x.flatten().tolist())) <= 256


def test_predictions_do_not_depend_on_the_batch(found):
    rows = planted_rows(6)
    alone = torch.cat([found.model.predict(*one) for one in rows.batches(found.model, 1)])
    assert torch.allclose(alone, prediction(found.model, rows), atol=0.02 * float(alone.detach().abs().max()))


def test_fewer_bits_of_inputs_cost_more_and_kept_layers_have_eight(model):
    rows, errors = planted_rows(32), []
    for bits in (8, 3):
        one = PTQ4DM(activation_bits=bits)(model, rows)
        errors.append(float((prediction(one.model, rows.held) - prediction(model, rows.held)).norm()))
        grids = {name: buffer.tolist() for name, buffer in one.model.denoiser.named_buffers()}
        assert grids["conv_in.input_grid"][1] == grids["conv_out.input_grid"][1] == 8
        assert grids["mid_block.resnets.0.conv1.input_grid"][1] == bits
        assert len(grids) == len(weight_layers(model))
    assert errors[0] < 0.2 * errors[1]


def test_rounded_inputs_are_of_the_model_that_names_results(model, found):
    """The same weights with and without rounded inputs are two models."""
    plain = RoundToNearest(bits=8)(model)
    with_inputs = plain.model.copy()
    from intaglio.models.packing.rounded_inputs import input_grid, round_inputs

    round_inputs(with_inputs.denoiser, {"conv_in": input_grid(0.1, 8)})
    assert not with_inputs.same_weights(plain.model)
    assert with_inputs.fingerprint != plain.model.fingerprint
    again = found.model.copy()
    rows = planted_rows(2)
    assert torch.equal(prediction(again, rows), prediction(found.model, rows))
    assert again.same_weights(found.model)


def test_sizes_are_counted_beforehand(model, found):
    assert abs(found.bytes - PTQ4DM().planned(model, 0).after) <= len(found.layers)


def test_rows_of_other_times_are_told(found, model):
    assert ["calibration_times" in sentence for sentence in found.warnings] == [True]
    method = PTQ4DM()
    rows = drawn_states(model, ["cat"], 32, times=method.calibration_times)
    assert method(model, rows).warnings == ()


def test_calibration_times_are_asked_for_only_where_they_are_normal():
    assert PTQ4DM(times="even").calibration_times is None
    times = PTQ4DM().calibration_times
    assert (times.mean, times.deviation, times.redrawn) == (0.4, 0.4, False)
    with pytest.raises(ValueError, match="belong to times dntc"):
        PTQ4DM(times="even", mean=0.3)
