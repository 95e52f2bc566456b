import sys

import numpy as np
import pytest
import torch
from diffusers import GGUFQuantizationConfig, UNet2DConditionModel
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.packing.gguf_file import blocks, check_gguf, write_gguf
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.shrink.layers import weight_layers


def codes_of(shape, bits, seed=0):
    """A term of codes in groups of 32, of every code."""
    source = torch.Generator().manual_seed(seed)
    rows, columns = shape
    codes = torch.randint(2**bits, shape, generator=source).to(torch.uint8)
    codes.view(-1)[: 2**bits] = torch.arange(2**bits).to(torch.uint8)
    scales = torch.randn(rows, columns // 32, generator=source).half()
    return Integers(codes, scales, bits)


@pytest.mark.parametrize(("bits", "kind", "size"), [(4, "Q4_0", 18), (5, "Q5_0", 22), (8, "Q8_0", 34)])
def test_blocks_are_read_by_the_formats_own_library_as_the_same_numbers(bits, kind, size):
    term = codes_of((8, 96), bits)
    packed = blocks(term)
    assert packed.shape == (8, 3 * size)
    found = dequantize(packed.numpy(), GGMLQuantizationType[kind])
    steps = term.codes.numpy().astype(np.float32) - 2 ** (bits - 1)
    wanted = (steps.reshape(8, 3, 32) * term.scales.numpy().astype(np.float32)[..., None]).reshape(8, 96)
    np.testing.assert_array_equal(found, wanted)


def test_diffusers_reads_the_file_as_the_same_network(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "base"))
    model.denoiser.half().float()  # what the format holds of weights that are no codes
    layers = [layer for layer in weight_layers(model) if len(layer.shape) == 2 and layer.columns % 32 == 0]
    assert len(layers) > 5
    packed = {}
    for place, layer in enumerate(layers):
        term = codes_of((layer.rows, layer.columns), (4, 5, 8)[place % 3], seed=place)
        term = Integers(term.codes, term.scales / 100, term.bits)
        packed[layer.name] = PackedWeight(layer.shape, (term,))
        with torch.no_grad():
            layer.module.weight.copy_(packed[layer.name].unpack())
    model.to(dtype=torch.float16).to(dtype=torch.float32)
    file = tmp_path / "unet.gguf"
    assert write_gguf(model.denoiser, packed, file) == len(layers)
    assert len(GGUFReader(file).tensors) == len(model.denoiser.state_dict())
    about = {"quantization_config": GGUFQuantizationConfig(compute_dtype=torch.float32), "torch_dtype": torch.float32}
    theirs = UNet2DConditionModel.from_single_file(str(file), config=str(model.source), subfolder="unet", **about)
    x, text = torch.randn(2, tiny.CHANNELS, 8, 8), torch.randn(2, 7, model.denoiser.config.cross_attention_dim)
    with torch.no_grad():
        found, wanted = (net(x, torch.tensor([10, 900]), text).sample for net in (theirs, model.denoiser))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("bits", "group"), [(3, 32), (8, 64), (8, 0), (8, None), (None, 32)])
def test_codes_that_the_format_lacks_are_refused(bits, group):
    with pytest.raises(BadInput, match="groups of 32"):
        check_gguf(bits, group)


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(BadInput, match=r"intaglio\[gguf\]"):
        check_gguf(8, 32)


def test_numbers_beyond_half_precision_and_those_of_one_side_are_written_whole(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "base"))
    conv, fine = model.denoiser.conv_in, 1 + 2.0**-20
    with torch.no_grad():
        conv.weight[0, 0, 0, 0], conv.bias[0] = 1e5, fine
    write_gguf(model.denoiser, {}, tmp_path / "unet.gguf")
    found = {one.name.removeprefix("model.diffusion_model."): one for one in GGUFReader(tmp_path / "unet.gguf").tensors}
    weight, bias = (found[f"input_blocks.0.0.{name}"] for name in ("weight", "bias"))
    assert weight.tensor_type == bias.tensor_type == GGMLQuantizationType.F32
    assert (weight.data.flat[0], bias.data.flat[0]) == (1e5, fine)
    assert found["out.2.weight"].tensor_type == GGMLQuantizationType.F16
