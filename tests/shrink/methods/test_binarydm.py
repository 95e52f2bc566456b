import math

import pytest
import torch
from torch import nn

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.models.packing.integers import Integers
from intaglio.runs.run import Run
from intaglio.shrink.heal import Healing
from intaglio.shrink.methods.binarydm import BinaryDM
from intaglio.shrink.sign_bases import SignBases
from shrink_scenes import planted_rows

SMALL = {"steps": 3, "batch": 2, "learning_rate": 1e-3, "gradual": 0.5}
BAD = {"gradual": 1.0}
PIECES = {"gradient_checkpointing": True}
VARIANTS = {"one base": {"SMALL": {"doubled": 0, "lrm": 0.0}, "BAD": {"lrm": -1.0}, "PIECES": {}}}


def signed(bases=2, rows=6, columns=40, seed=2):
    layer = nn.Linear(columns, rows, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)))
    whole = layer.weight.detach().clone()
    one = SignBases(layer, bases)
    one.on = True
    return layer, one, whole


def test_the_first_scale_is_that_of_least_squared_error():
    """|w - a·s|² is least at a = w·s / n, and so larger on both sides of it."""
    _, one, whole = signed(1)

    def lost(scales):
        return (whole - scales[:, None] * whole.sign()).square().sum(1)

    scales = one.scales.detach()[0]
    assert torch.allclose(scales, (whole * whole.sign()).sum(1) / 40)
    assert (lost(scales) < lost(scales * 1.01)).all()
    assert (lost(scales) < lost(scales * 0.99)).all()


def test_of_a_gaussian_one_base_leaves_a_third_and_two_an_eighth():
    """One leaves 1 - 2/π. Of |w| - E|w|, two leave 1 - 2/π - m², m the mean absolute deviation of |w|.

    With c = √(2/π): m = 2·E(c - |w|; |w| < c) = 2·(c·P(|w| < c) - c·(1 - exp(-c²/2))).
    """
    c = math.sqrt(2 / math.pi)
    m = 2 * (c * math.erf(c / math.sqrt(2)) - c * (1 - math.exp(-(c**2) / 2)))
    for bases, wanted in ((1, 1 - c**2), (2, 1 - c**2 - m**2)):
        layer, _, whole = signed(bases, 20, 20_000)
        left = float((layer.weight - whole).detach().square().mean())
        assert left == pytest.approx(wanted, abs=0.005)
        assert wanted == pytest.approx({1: 0.363, 2: 0.131}[bases], abs=0.002)


@pytest.mark.parametrize("bases", [1, 2])
def test_a_layer_computes_with_signs_while_they_are_on_and_has_its_weight_back_after(bases):
    layer, one, whole = signed(bases)
    scales = one.scales.detach().half().float()
    for row in range(6):
        for column in range(40):
            left, wanted = float(whole[row, column]), 0.0
            for scale in scales[:, row].tolist():
                add = scale if left >= 0 else -scale
                left, wanted = left - add, wanted + add
            assert float(layer.weight[row, column].detach()) == pytest.approx(wanted, abs=1e-6)
    one.on = False
    assert torch.equal(layer.weight, whole)
    one.remove()
    assert torch.equal(layer.weight, whole)


def test_the_sign_of_zero_is_plus():
    layer = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, -0.0, 3.0]]))
    one = SignBases(layer, 1)
    one.on = True
    assert layer.weight.tolist() == [[1.0, 1.0, 1.0]]


def test_gradients_are_the_true_ones_of_scales_and_straight_ones_of_the_weight():
    """Of Σ c·w³: that of the weight in use is 3c·w²; of a scale, its sum over a row times the signs."""
    layer, one, whole = signed()
    c = torch.randn(whole.shape, generator=torch.Generator().manual_seed(4))
    used = layer.weight.detach().clone()
    (c * layer.weight**3).sum().backward()
    wanted = 3 * c * used**2
    assert torch.allclose(one.whole.grad, wanted)
    first = torch.where(whole >= 0, 1.0, -1.0)
    second = torch.where(whole - one.scales.detach()[0].half().float()[:, None] * first >= 0, 1.0, -1.0)
    assert torch.allclose(one.scales.grad, torch.stack([(wanted * first).sum(1), (wanted * second).sum(1)]), rtol=1e-4)


@pytest.mark.parametrize("bases", [1, 2])
def test_the_sum_of_terms_is_the_weight_in_use_to_the_bit(bases):
    layer, one, _ = signed(bases)
    with torch.no_grad():
        one.scales.mul_(1 + 0.1 * torch.rand(one.scales.shape, generator=torch.Generator().manual_seed(1)))
    terms = one.terms()
    assert len(terms) == bases
    assert torch.equal(sum((t.unpack() for t in terms[1:]), start=terms[0].unpack()), layer.weight.detach())


def test_resolutions_begin_one_after_the_other_from_the_middle_outward():
    method = BinaryDM(steps=1000, gradual=0.3)
    assert [method.begins(place, 4) for place in (3, 2, 1, 0)] == [0, 100, 200, 300]
    assert [BinaryDM(steps=1000, gradual=0.0).begins(place, 4) for place in range(4)] == [0] * 4


def test_the_outer_resolutions_have_two_bases_and_the_bytes_are_as_planned(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "m"))
    method = BinaryDM(steps=1, batch=1, doubled=1, learning_rate=1e-2)
    found = method(model, planted_rows())
    assert found.bytes == pytest.approx(method.planned(model, 28).after, rel=0.01)
    last = len(model.denoiser.down_blocks) - 1
    for name, one in found.packed["denoiser"].items():
        if name.startswith(("conv_in", "conv_out", "time_embedding")):
            assert isinstance(one.terms[0], Integers)
        else:
            outer = name.startswith(("down_blocks.0.", f"up_blocks.{last}."))
            assert len(one.terms) == (2 if outer else 1), name
    moved = found.model.denoiser.conv_norm_out.weight - model.denoiser.conv_norm_out.weight
    assert float(moved.detach().abs().max()) > 0, "weights that are not packed are trained too"


def test_the_first_loss_has_the_distance_along_the_principal_directions(tmp_path):
    """Written out again by singular values of the channels' deviations on the rows of the first batch, which are all.

    The middle alone computes with signs in the first step.
    """
    model = load_model(tiny.sd_folder(tmp_path / "m"))
    rows = planted_rows(8)
    student = model.copy()
    with torch.no_grad():
        for module in student.denoiser.mid_block.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                scale = module.weight.flatten(1).abs().mean(1).half().float()
                signs = torch.where(module.weight >= 0, 1.0, -1.0)
                module.weight.copy_(signs * scale.view(-1, *[1] * (module.weight.dim() - 1)))

    def outputs(one):
        found, net = [], one.denoiser
        blocks = [*net.down_blocks, net.mid_block, *net.up_blocks]
        hooks = [
            b.register_forward_hook(lambda m, i, out: found.append(out[0] if isinstance(out, tuple) else out))
            for b in blocks
        ]
        with torch.no_grad():
            (batch,) = rows.batches(one, 8)
            one.predict(*batch)
        for hook in hooks:
            hook.remove()
        return found

    lost = []
    for mine, theirs in zip(outputs(student), outputs(model), strict=True):
        values = theirs.permute(0, 2, 3, 1).reshape(-1, theirs.shape[1])
        _, _, right = torch.linalg.svd(values - values.mean(0), full_matrices=False)
        along = right[: max(1, theirs.shape[1] // 4)]
        apart = (mine - theirs).permute(0, 2, 3, 1).reshape(-1, theirs.shape[1])
        lost.append(float((apart @ along.T).square().sum()))
    told = []
    for lrm in (0.0, 0.5):
        method, twin = BinaryDM(steps=1, batch=8, lrm=lrm, gradual=0.9), model.copy()
        twin.denoiser.load_state_dict(student.denoiser.state_dict())
        weights = dict(twin.denoiser.named_parameters())
        figures = Healing(model, twin, rows, method, weights)(Run.none())
        told.append(figures["loss"])
        assert figures["teacher_calls"] == 8
    assert told[1] - told[0] == pytest.approx(0.5 * sum(lost) / len(lost) / 8, rel=1e-3)
