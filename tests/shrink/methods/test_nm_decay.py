import pytest
import torch
from torch import nn

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink.fading_weight import FadingWeight
from intaglio.shrink.methods.nm_decay import NMDecay
from shrink_scenes import planted_rows

SMALL = {"steps": 3, "batch": 2, "learning_rate": 1e-3}
BAD = {"pattern": "3:6"}
PIECES = {"gradient_checkpointing": True}
VARIANTS = {"sr-ste": {"SMALL": {"decay": "sr-ste", "features": 0.1}, "BAD": {"hard": 1.0}, "PIECES": {}}}


def faded(straight=False, columns=8, factor=0.25, pattern=(2, 4)):
    layer = nn.Linear(columns, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(3, columns, generator=torch.Generator().manual_seed(2)))
    whole = layer.weight.detach().clone()
    fading = FadingWeight(layer, straight)
    fading.set(pattern, factor)
    return layer, fading, whole


def largest(weight, n, m):
    """Ones at the n largest of each m, written out again."""
    mask = torch.zeros_like(weight)
    for row in range(len(weight)):
        for first in range(0, weight.shape[1], m):
            group = sorted(range(first, first + m), key=lambda k: -abs(float(weight[row, k])))
            mask[row, group[:n]] = 1
    return mask


@pytest.mark.parametrize("factor", [1.0, 0.25, 0.0])
def test_dropped_weights_count_by_the_factor(factor):
    layer, fading, whole = faded(factor=factor)
    mask = largest(whole, 2, 4)
    assert torch.equal(layer.weight, whole * (mask + (1 - mask) * factor))
    fading.remove()
    assert torch.equal(layer.weight, whole)


@pytest.mark.parametrize("straight", [False, True])
def test_the_gradient_is_the_true_one_or_that_of_the_weight_in_use(straight):
    """The true one by finite differences of Σ c·W_used³ for a mask that stays; the other is 3c·W_used²."""
    layer, fading, whole = faded(straight)
    c = torch.randn(whole.shape, generator=torch.Generator().manual_seed(4))
    (c * layer.weight**3).sum().backward()
    mask = largest(whole, 2, 4)
    factors = (mask + (1 - mask) * 0.25).double()

    def loss(at):
        return float((c.double() * (at * factors) ** 3).sum())

    wanted = torch.zeros(whole.shape)
    for place in range(whole.numel()):
        step = torch.zeros(whole.numel(), dtype=torch.float64)
        step[place] = 1e-5
        up, down = (whole.double() + sign * step.view(whole.shape) for sign in (1, -1))
        wanted.view(-1)[place] = (loss(up) - loss(down)) / 2e-5
    if straight:
        wanted = wanted / factors.float()
    assert torch.allclose(fading.whole.grad, wanted, rtol=1e-3, atol=1e-5)


def test_the_pull_of_dropped_weights_is_their_squares():
    _, fading, whole = faded(straight=True, factor=0.0)
    fading.dropped_squares().backward()
    assert torch.allclose(fading.whole.grad, 2 * (1 - largest(whole, 2, 4)) * whole)


def test_the_factor_is_a_hundredth_after_six_tenths_or_a_line_to_zero_there():
    curved, line = NMDecay(steps=1000), NMDecay(steps=1000, curve="linear")
    assert [curved.factor_at(step) for step in (0, 300, 600)] == pytest.approx([1.0, 0.1, 0.01])
    assert [line.factor_at(step) for step in (0, 300, 600, 700)] == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert curved.factor_at(799) > 0
    assert curved.factor_at(800) == 0
    assert NMDecay(steps=1000, decay="sr-ste").factor_at(0) == 0


@pytest.mark.parametrize(
    ("settings", "patterns"),
    [
        ({"pattern": "2:4"}, [(3, 4), (2, 4)]),
        ({"pattern": "1:8"}, [(7, 8), (4, 8), (2, 8), (1, 8)]),
        ({"pattern": "1:4", "frames": "geometric"}, [(8, 32), (4, 16), (2, 8), (1, 4)]),
        ({"pattern": "7:8"}, [(7, 8)]),
    ],
)
def test_patterns_of_structure_decay_share_the_time_before_the_hard_steps(settings, patterns):
    method = NMDecay(decay="structure", steps=100, hard=0.2, **settings)
    told = [method.pattern_at(step) for step in range(100)]
    assert list(dict.fromkeys(told)) == patterns
    assert told.count(patterns[0]) == 80 // len(patterns) or len(patterns) == 1
    assert set(told[80:]) == {patterns[-1]}


def test_every_group_ends_with_exactly_as_many_as_the_pattern_says(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "m"))
    found = NMDecay(steps=2, batch=2, pattern="1:4", learning_rate=1e-2)(model, planted_rows())
    for name, one in found.packed["denoiser"].items():
        if name.split(".")[0] in ("conv_in", "conv_out"):
            continue
        (term,), columns = one.terms, one.numbers // one.shape[0]
        if columns % 4 == 0:
            assert (term.mask.view(one.shape[0], -1, 4).sum(2) == 1).all()
        else:
            assert (term.mask.sum(1) == round(columns / 4)).all()
    assert found.bytes == pytest.approx(NMDecay(pattern="1:4").planned(model, 28).after, rel=0.02)
    moved = found.model.denoiser.conv_norm_out.weight - model.denoiser.conv_norm_out.weight
    assert float(moved.detach().abs().max()) > 0, "weights that are not packed are trained too"
