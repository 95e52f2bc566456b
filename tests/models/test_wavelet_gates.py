import json

import pytest
import torch

import tiny
from edited_networks import drawn, predicted
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.unet_lockstep import UNetLockstep, mean_of
from intaglio.models.diffusion.wavelet_gates import WaveletDown, WaveletUp, gate_resamplers, haar, inverse_haar, sum_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def model(folder):
    return load_model(folder)


def open_gates(module, opened):
    """Gates of these values, whatever the input."""
    module.gates.last.weight.data.zero_()
    module.gates.last.bias.data = torch.logit(torch.tensor(opened))


def test_the_transform_keeps_lengths_and_its_inverse_gives_back_what_went_in():
    x, y = drawn(2, 3, 6, 4), drawn(2, 3, 6, 4, seed=1)
    torch.testing.assert_close(inverse_haar(haar(x)), x)
    product = sum(float((one * two).sum()) for one, two in zip(haar(x), haar(y), strict=True))
    assert product == pytest.approx(float((x * y).sum()), rel=1e-4)


def test_bands_are_the_products_of_sums_and_differences_along_each_side():
    low, high = torch.tensor([1.0, 1.0]) / 2**0.5, torch.tensor([1.0, -1.0]) / 2**0.5
    square = drawn(2, 2)
    for band, (rows, columns) in zip(
        haar(square[None, None]), ((low, low), (low, high), (high, low), (high, high)), strict=True
    ):
        assert float(band) == pytest.approx(float(rows @ square @ columns), abs=1e-6)


def test_open_gates_give_the_sum_of_the_bands_which_is_twice_the_first_place_of_each_square():
    x, module = drawn(2, 4, 6, 6), WaveletDown(4, 4)
    torch.testing.assert_close(sum_of(haar(x)), 2 * x[..., ::2, ::2])
    module.conv = torch.nn.Identity()
    open_gates(module, [1 - 1e-7] * 4)
    torch.testing.assert_close(module(x), sum_of(haar(x)), rtol=1e-4, atol=1e-5)


def test_each_gate_weighs_its_own_band_up_and_down():
    opened = [0.1, 0.3, 0.6, 0.8]
    x, down, up = drawn(2, 4, 6, 6), WaveletDown(4, 4), WaveletUp(4, 1)
    down.conv = up.conv = torch.nn.Identity()
    open_gates(down, opened)
    open_gates(up, opened)
    torch.testing.assert_close(down(x), sum(g * band for g, band in zip(opened, haar(x), strict=True)))
    gated = [g * band for g, band in zip(opened, haar(up(x)), strict=True)]
    torch.testing.assert_close(torch.cat(gated, 1), torch.tensor(opened).view(1, 4, 1, 1) ** 2 * x)


def test_gates_follow_what_passes_through():
    module, x = WaveletDown(4, 4), drawn(2, 4, 6, 6)
    gates = module.gates(x)
    hidden = torch.nn.functional.silu(x.mean((2, 3)) @ module.gates.first.weight.T + module.gates.first.bias)
    torch.testing.assert_close(gates, torch.sigmoid(hidden @ module.gates.last.weight.T + module.gates.last.bias))


def test_odd_sides_are_taken_and_a_size_that_is_asked_for_is_given(model):
    gate_resamplers(model.denoiser)
    assert predicted(model, 9).shape == (2, tiny.CHANNELS, 9, 9)


def test_it_begins_as_the_first_place_of_each_square_and_as_repeated_places(model):
    """Gates of a half: down, half of twice the first place; up, the low band alone by a quarter, which weights undo."""
    before = model.copy()
    gate_resamplers(model.denoiser)
    x = drawn(1, 8, 8, 8)
    down, conv = model.denoiser.down_blocks[0].downsamplers[0], before.denoiser.down_blocks[0].downsamplers[0].conv
    with torch.no_grad():
        wanted = torch.nn.functional.conv2d(x[..., ::2, ::2], conv.weight, conv.bias, padding=1)
        torch.testing.assert_close(down(x), wanted)
        up, plain = (one.denoiser.up_blocks[0].upsamplers[0] for one in (model, before))
        low = torch.cat([drawn(1, 4, 4, 4), torch.zeros(1, 12, 4, 4)], 1)
        torch.testing.assert_close(up(low), plain(low), rtol=1e-4, atol=1e-5)


def test_a_gated_model_is_saved_loaded_told_apart_and_runs_in_lock_step(model, folder, tmp_path):
    drawn_before = torch.random.get_rng_state()
    gate_resamplers(model.denoiser)
    assert torch.equal(torch.random.get_rng_state(), drawn_before)
    model.save(tmp_path / "gated")
    read = load_model(tmp_path / "gated")
    assert not read.notes
    assert torch.equal(predicted(read), predicted(model))
    assert any("wavelet_gates" in told for told in model.differences(load_model(folder)))
    with UNetLockstep([read.denoiser, read.denoiser], mean_of).leading():
        torch.testing.assert_close(predicted(read), predicted(model))


def test_a_wrong_entry_is_refused(model, tmp_path):
    model.save(tmp_path / "gated")
    path = tmp_path / "gated" / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "wavelet_gates": "yes"}))
    with pytest.raises(BadInput, match="wavelet_gates"):
        load_model(tmp_path / "gated")


def test_an_odd_side_repeats_its_last_place_so_that_the_low_band_of_a_flat_picture_is_flat():
    module = WaveletDown(4, 4)
    module.conv = torch.nn.Identity()
    open_gates(module, [1 - 1e-7, 1e-7, 1e-7, 1e-7])
    torch.testing.assert_close(module(torch.ones(1, 4, 5, 7)), torch.full((1, 4, 3, 4), 2.0))
