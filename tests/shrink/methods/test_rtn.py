import math

import numpy as np
import pytest
import torch

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.normal_floats import normal_levels
from intaglio.shrink.methods.rtn import RoundToNearest

SMALL = {"bits": 4}
BAD = {"bits": 1}
PIECES = {}
VARIANTS = {"nf4": {"SMALL": {"format": "nf4", "clip": "none", "group": 8}, "BAD": {"group": -1}, "PIECES": {}}}


def packed(weight, **settings):
    (term,) = RoundToNearest(**settings).pack(weight, None)
    return term


def gaussian(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def test_errors_within_a_cell_are_uniform():
    """Weights spread evenly between the ends of the codes are s²/12 from the nearest, s = largest / 7."""
    weight = torch.linspace(-1, 1, 80_001)[None] * 0.7
    found = packed(weight, bits=4, clip="none").unpack()
    step = 0.7 / 7
    inside = (weight.abs() <= 0.7 - step / 2)[0]
    assert float((found - weight)[0, inside].square().mean()) == pytest.approx(step**2 / 12, rel=0.01)


@pytest.mark.parametrize(("bits", "clip", "wanted"), [(8, "none", 6.4e-5), (4, "none", 2.06e-2), (3, "none", 0.114)])
def test_gaussian_rows_lose_what_their_largest_weight_costs(bits, clip, wanted):
    """Of 1,152 standard normal weights the largest is near 3.35, so that s = 3.35 / (2^(b-1) - 1), error s²/12."""
    weight = gaussian(400, 1152)
    lost = float((packed(weight, bits=bits, clip=clip).unpack() - weight).square().mean())
    assert lost == pytest.approx(wanted, rel=0.04)


def test_a_clipped_scale_of_gaussian_rows_loses_what_the_best_step_loses():
    """The least over steps s of the integral of (x - Q(x))² φ(x), Q to the nearest of -4s .. 3s: 0.0402."""
    x = np.linspace(-6, 6, 20_001)
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    least = min(
        float((density * (x - s * np.clip(np.round(x / s), -4, 3)) ** 2).sum()) for s in np.linspace(0.3, 0.9, 121)
    )
    weight = gaussian(400, 1152)
    assert float((packed(weight, bits=3).unpack() - weight).square().mean()) == pytest.approx(least, rel=0.02)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_weights_on_the_grid_come_back_exactly(bits):
    half = 2 ** (bits - 1)
    codes = torch.randint(-half + 1, half, (5, 64), generator=torch.Generator().manual_seed(bits))
    codes[:, 0] = half - 1
    weight = codes * 0.25
    assert torch.equal(packed(weight, bits=bits).unpack(), weight)


def test_the_chosen_scale_is_the_best_of_all_shares():
    weight, bits = gaussian(3, 40, seed=1), 3
    term = packed(weight, bits=bits)
    assert isinstance(term, Integers)
    for row in range(3):
        tried = []
        for share in range(20, 101):
            scale = float(torch.tensor(share / 100 * float(weight[row].abs().max()) / 3).half())
            rounded = [scale * min(3, max(-4, round(w / scale))) for w in weight[row].tolist()]
            tried.append((math.dist(rounded, weight[row].tolist()), scale))
        assert float(term.scales[row, 0]) in [scale for lost, scale in tried if lost < min(tried)[0] * 1.0001]


def test_each_group_has_its_own_scale_and_a_group_that_does_not_fit_is_a_row():
    weight = torch.cat([gaussian(4, 16), 100 * gaussian(4, 16, seed=1)], 1)
    grouped, whole = packed(weight, group=16, bits=4), packed(weight, bits=4)
    assert grouped.scales.shape == (4, 2)
    assert (grouped.unpack() - weight)[:, :16].norm() < 0.2 * weight[:, :16].norm()
    assert (whole.unpack() - weight)[:, :16].norm() > 0.9 * weight[:, :16].norm()
    assert torch.equal(packed(weight, group=5, bits=4).unpack(), whole.unpack())


def test_rows_of_zeros_stay_zeros():
    weight = torch.zeros(2, 8)
    weight[1, 3] = 1.0
    for settings in ({"bits": 4}, {"bits": 4, "format": "nf4", "clip": "none"}):
        found = packed(weight, **settings).unpack()
        assert (found[0] == 0).all()
        assert float(found[1, 3]) == pytest.approx(1.0, rel=1e-3)


def test_nf4_takes_the_nearest_level_of_the_largest_weight():
    weight = gaussian(3, 64)
    term = packed(weight, bits=4, format="nf4", clip="none", group=32)
    for row in range(3):
        for column in range(64):
            scale = float(weight[row].view(2, 32)[column // 32].abs().max().half())
            level = min((float(level) * scale for level in normal_levels()), key=lambda v: abs(v - weight[row, column]))
            assert float(term.unpack()[row, column]) == pytest.approx(level, rel=1e-3, abs=1e-6)


def test_kept_layers_have_eight_bits_and_the_others_as_told(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "m"))
    found = RoundToNearest(bits=3, keep=("conv_in", "mid_block"))(model)
    bits = {layer.name: layer.bits for layer in found.layers}
    columns = model.denoiser.conv_in.weight[0].numel()
    assert bits["conv_in.weight"] == pytest.approx(8 + 16 / columns, abs=8 / columns)
    assert all(8 <= many < 9.1 for name, many in bits.items() if name.startswith("mid_block."))
    assert bits["conv_out.weight"] < 4


def test_text_encoders_are_made_smaller_where_they_are_named(tmp_path):
    model = load_model(tiny.sdxl_folder(tmp_path / "m"))
    found = RoundToNearest(bits=4, parts=("text_encoder_2", "denoiser"))(model)
    assert set(found.packed) == {"text_encoder_2", "denoiser"}
    read = load_model(found.save(tmp_path / "small"))
    assert read.same_weights(found.model)
    assert read.part_fingerprint("text_encoder") == model.part_fingerprint("text_encoder")
    assert read.part_fingerprint("text_encoder_2") != model.part_fingerprint("text_encoder_2")
    assert set(read.packing) == {"text_encoder_2", "denoiser"}


@pytest.mark.parametrize(
    "wrong",
    [{"format": "nf4"}, {"format": "nf4", "bits": 4}, {"bits": 9}, {"parts": ()}, {"parts": ("vae",)}, {"batch": 0}],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RoundToNearest(**wrong)
