import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import tiny
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.predicted_units import predict_units, predictable, predicted_blocks
from intaglio.models.packing import int8_kernels
from intaglio.models.packing.int8_kernels import use_int8
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.models.packing.rounded_inputs import input_grid, round_inputs
from intaglio.shrink.methods.ptq4dm import PTQ4DM
from intaglio.shrink.methods.rtn import RoundToNearest
from shrink_scenes import exact_integers, planted_rows

pytestmark = exact_integers

LAYERS = {
    "linear": (lambda: nn.Linear(24, 7), (3, 5, 24)),
    "no bias": (lambda: nn.Linear(9, 4, bias=False), (6, 9)),
    "conv": (lambda: nn.Conv2d(6, 5, 3, padding=1), (2, 6, 7, 8)),
    "stride": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), (3, 4, 8, 8)),
    "pointwise": (lambda: nn.Conv2d(8, 3, 1, bias=False), (1, 8, 4, 4)),
    "groups": (lambda: nn.Conv2d(8, 8, 3, padding=1, groups=4), (2, 8, 5, 5)),
}


def packed_layer(make, bits, input_bits):
    """A layer in a network, on a grid of codes with rounded inputs; its packed weight, and its codes as integers."""
    source = torch.Generator().manual_seed(bits)
    network = nn.Sequential(make())
    shape = tuple(network[0].weight.shape)
    codes = torch.randint(2**bits, (shape[0], network[0].weight[0].numel()), generator=source).to(torch.uint8)
    scales = (torch.rand(shape[0], 1, generator=source) / 8 + 0.01).half()
    packed = PackedWeight(shape, (Integers(codes, scales, bits),))
    with torch.no_grad():
        network[0].weight.copy_(packed.unpack())
    round_inputs(network, {"0": input_grid(0.03, input_bits)})
    return network, packed, (codes.double() - 2 ** (bits - 1)).view(shape), scales.double().flatten()


@pytest.mark.parametrize(("bits", "input_bits"), [(8, 8), (4, 8), (8, 5)])
@pytest.mark.parametrize("kind", LAYERS)
def test_outputs_are_exact_sums_of_products_of_codes_times_scales(kind, bits, input_bits):
    make, shape = LAYERS[kind]
    network, packed, codes, scales = packed_layer(make, bits, input_bits)
    layer = network[0]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3
    grid = float(torch.tensor(0.03).half())
    rounded = (x.double() / grid).round().clamp(-(2 ** (input_bits - 1)), 2 ** (input_bits - 1) - 1)
    if isinstance(layer, nn.Linear):
        wanted = nn.functional.linear(rounded, codes) * scales * grid
        wanted = wanted if layer.bias is None else wanted + layer.bias.detach().double()
    else:
        wanted = nn.functional.conv2d(rounded, codes, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        wanted = wanted * scales.view(1, -1, 1, 1) * grid
        wanted = wanted if layer.bias is None else wanted + layer.bias.detach().double().view(1, -1, 1, 1)
    assert use_int8(network, {"0.weight": packed}) == 1
    with torch.no_grad():
        found = network(x)
        again = copy.deepcopy(network)(x)
    torch.testing.assert_close(found.double(), wanted, rtol=2e-6, atol=2e-6 * float(wanted.abs().max()))
    torch.testing.assert_close(again, found, rtol=0, atol=0)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def folder(base, tmp_path_factory):
    return PTQ4DM()(base, planted_rows()).save(tmp_path_factory.mktemp("small"))


def test_a_loaded_model_computes_with_integers_and_keeps_its_fingerprint(base, folder):
    plain, model = load_model(folder), load_model(folder, dtype=torch.int8)
    assert (model.fingerprint, model.dtype) == (plain.fingerprint, torch.float32)
    kinds = {type(module) for module in model.denoiser.modules()}
    assert not kinds & {nn.Linear, nn.Conv2d}
    with torch.no_grad():
        (one,) = planted_rows().batches(base, 32)
        full, rounded, integers = (each.predict(*one) for each in (base, plain, model))
        torch.testing.assert_close(model.copy().predict(*one), integers, rtol=0, atol=0)
    # A number near a tie may round the other way in a later layer: as far apart as rounding itself, and no further.
    assert float((integers - rounded).norm()) < 1.5 * float((rounded - full).norm())
    with pytest.raises(IntaglioError, match="have no gradients"):
        model.predict(one[0].requires_grad_(), *one[1:])
    with torch.no_grad():
        model.denoiser.conv_in.weight.mul_(2)
        with pytest.raises(IntaglioError, match="were changed"):
            model.predict(one[0].detach(), *one[1:])


def test_models_that_cannot_are_refused_by_what_they_lack(base, tmp_path):
    with pytest.raises(BadInput, match="no packed weights"):
        load_model(base.source, dtype=torch.int8)
    weights_alone = RoundToNearest()(base).save(tmp_path / "rounded")
    with pytest.raises(BadInput, match="inputs that are rounded"):
        load_model(weights_alone, dtype=torch.int8)
    network, packed, _, _ = packed_layer(lambda: nn.Linear(4, 2), 8, 8)
    with torch.no_grad():
        network[0].weight.add_(1)
    with pytest.raises(BadInput, match="not what its codes say"):
        use_int8(network, {"0.weight": packed})


def test_a_processor_of_inexact_sums_is_refused(monkeypatch):
    network, packed, _, _ = packed_layer(lambda: nn.Linear(4, 2), 8, 8)
    saturating = torch.tensor([[32767.0, -32768.0], [0.0, 0.0]])
    monkeypatch.setattr(int8_kernels._Int8Linear, "_product", lambda self, codes: saturating)
    int8_kernels._exact.cache_clear()
    with pytest.raises(BadInput, match="no exact products"):
        use_int8(network, {"0.weight": packed})
    int8_kernels._exact.cache_clear()


def test_a_lora_on_top_leaves_no_codes(folder, tmp_path):
    keys = {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q": (16, 16)}
    tensors = {}
    for key, (rows, columns) in keys.items():
        tensors |= {f"{key}.lora_up.weight": torch.ones(rows, 1), f"{key}.lora_down.weight": torch.ones(1, columns)}
    save_file(tensors, tmp_path / "lora.safetensors")
    with pytest.raises(BadInput, match="as after a LoRA"):
        load_model(folder, lora=tmp_path / "lora.safetensors", dtype=torch.int8)


def test_copies_of_a_layer_whose_weight_was_changed_are_refused_too():
    network, packed, _, _ = packed_layer(lambda: nn.Linear(4, 2), 8, 8)
    use_int8(network, {"0.weight": packed})
    with torch.no_grad():
        unchanged = copy.deepcopy(network)
        network[0].weight.mul_(2)
        for one in (network, copy.deepcopy(network), copy.deepcopy(copy.deepcopy(network))):
            with pytest.raises(IntaglioError, match="were changed"):
                one(torch.ones(1, 4))
        assert unchanged(torch.ones(1, 4)).shape == (1, 2)


def test_inputs_that_are_not_finite_show_in_their_own_row():
    network, packed, _, _ = packed_layer(lambda: nn.Linear(4, 2), 8, 8)
    use_int8(network, {"0.weight": packed})
    x = torch.ones(3, 5, 4)
    x[1, 2, 0] = torch.nan
    with torch.no_grad():
        assert torch.isfinite(network(x)).all(2).all(1).tolist() == [True, False, True]


def test_integers_and_predicted_units_take_one_picture_as_they_take_several(base, tmp_path):
    twin, source = base.copy(), torch.Generator().manual_seed(5)
    predict_units(twin.denoiser, predictable(twin.denoiser))
    for block in predicted_blocks(twin.denoiser).values():
        for weight in block.predictor.parameters():
            weight.data = torch.randn(weight.shape, generator=source)
    model = load_model(PTQ4DM()(twin, planted_rows()).save(tmp_path / "small"), dtype=torch.int8)
    with torch.no_grad():
        (given,) = planted_rows().batches(model, 32)
        together = model.predict(*given)
        for k in range(4):
            alone = model.predict(*(part[k : k + 1] for part in given))
            # Numbers near a tie may round the other way.
            assert float((alone[0] - together[k]).norm()) < 0.05 * float(together[k].norm())
