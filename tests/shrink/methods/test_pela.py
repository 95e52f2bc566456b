import pytest
import torch
from torch import nn

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.models.packing.low_rank import LowRank
from intaglio.shrink.factored_weight import FactoredWeight, nearest_factors
from intaglio.shrink.methods.pela import PELA
from shrink_scenes import planted_rows

SMALL = {"steps": 3, "batch": 2, "learning_rate": 1e-3}
BAD = {"compression": 1.0}
PIECES = {"gradient_checkpointing": True}
VARIANTS = {"halves": {"SMALL": {"bits": 16, "deviation": 1.0}, "BAD": {"deviation": -1.0}, "PIECES": {}}}


def gaussian(rows=12, columns=20, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rank", [1, 5, 11])
def test_the_squared_error_is_that_of_the_singular_values_left_out(rank):
    """The eigenvalues of WWᵀ are the squares of the singular values."""
    weight = gaussian()
    up, down = nearest_factors(weight, rank)
    squares = torch.linalg.eigvalsh(weight.double() @ weight.double().T)
    assert float((up @ down - weight).double().square().sum()) == pytest.approx(
        float(squares[: 12 - rank].sum()), rel=1e-4
    )
    assert torch.allclose(up.square().sum(0), down.square().sum(1), rtol=1e-4), "each factor has the root of the value"


def test_of_full_rank_the_product_is_the_weight():
    up, down = nearest_factors(gaussian(), 12)
    assert torch.allclose(up @ down, gaussian(), atol=1e-5)


@pytest.mark.parametrize("compression", [1.5, 2.0, 3.0])
def test_factors_have_at_most_the_share_of_numbers_that_is_told(tmp_path, compression):
    model = load_model(tiny.sd_folder(tmp_path / "m"))
    method = PELA(compression=compression, steps=1, batch=1)
    found = method(model, planted_rows())
    assert found.bytes == pytest.approx(method.planned(model, 28).after, rel=0.02)
    whole = set()
    for name, one in found.packed["denoiser"].items():
        (term,) = one.terms
        if isinstance(term, LowRank):
            o, n = one.shape[0], one.numbers // one.shape[0]
            assert term.rank == max(1, int(o * n / (compression * (o + n))))
            assert term.rank * (o + n) <= o * n / compression or term.rank == 1
        else:
            whole.add(name)
            assert one.bits >= 8
    small = {name for name, one in found.packed["denoiser"].items() if one.shape[0] < 10 or "downsamplers" in name}
    assert whole == small | {"conv_in.weight", "conv_out.weight"}


def test_a_layer_computes_with_the_product_and_has_its_weight_back_after():
    layer = nn.Conv2d(4, 6, 3)
    before = layer.weight.detach().clone()
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    one = FactoredWeight(layer, 3)
    thin = nn.functional.conv2d(x, one.down.view(3, 4, 3, 3))
    wanted = nn.functional.conv2d(thin, one.up.view(6, 3, 1, 1), layer.bias)
    assert torch.allclose(layer(x), wanted, atol=1e-5)
    wanted = (one.up @ one.down - before.flatten(1)).abs().max()
    assert float(one.deviation().detach()) == pytest.approx(float(wanted.detach()))
    one.remove()
    assert torch.equal(layer.weight, before)


def test_deviations_below_a_thousandth_are_left_alone(tmp_path, monkeypatch):
    """The penalty is the mean over layers of (max|BA - W| - 0.001)², of those above; its gradient is logged beside."""
    model = load_model(tiny.sd_folder(tmp_path / "m"))
    method, rows = PELA(steps=1, batch=1, deviation=2.0), planted_rows()
    over = []
    for name, module in model.denoiser.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight = module.weight.detach().flatten(1)
            o, n = weight.shape
            if o >= 10 and "downsamplers" not in name and name not in ("conv_in", "conv_out"):
                left, values, right = torch.linalg.svd(weight, full_matrices=False)
                values[max(1, int(o * n / (2 * (o + n)))) :] = 0
                largest = float((left @ values.diag() @ right - weight).abs().max())
                over.append(max(0.0, largest - 1e-3) ** 2)
    plain, penalised = (one(model, rows).facts["healing"]["loss"] for one in (PELA(steps=1, batch=1), method))
    assert penalised - plain == pytest.approx(2.0 * sum(over) / len(over), rel=1e-2)
