import numpy as np
import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.packing.drawn_entries import drawn_mask
from intaglio.shrink.layer_statistics import InputStatistics
from intaglio.shrink.methods.darex import DAREx, least_divisor
from intaglio.shrink.methods.rtn import RoundToNearest
from shrink_scenes import correlated, planted_rows

SMALL = {"drop": 0.5}
BAD = {"drop": 1.0}
PIECES = {"batch": 3}


def change(rows=5, columns=24, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 1e-3


def statistics(x):
    return InputStatistics(x.square().mean(0), (x.T @ x / len(x),))


@pytest.mark.parametrize("drop", [0.3, 0.9])
def test_the_mean_over_masks_is_the_change_and_its_variance_is_that_of_a_coin(drop):
    """At q = 1-p the mean of m·δ/q is δ, the variance p/(1-p)·δ²."""
    delta, found = change(2, 6), []
    for seed in range(2000):
        (term,) = DAREx(drop=drop, rule="dare", seed=seed).pack(delta, None, "a layer")
        found.append(term.unpack())
    every = torch.stack(found).double()
    deviation = (drop / (1 - drop)) ** 0.5 * delta.abs()
    assert ((every.mean(0) - delta).abs() < 4 * deviation / 2000**0.5).all()
    assert torch.allclose(every.std(0), deviation.double(), rtol=0.12)


@pytest.mark.parametrize("drop", [0.5, 0.9, 0.99])
def test_the_divisor_is_the_best_of_a_grid(drop):
    """The expected squared error of all rows' outputs, over masks and the given inputs, written out for each q."""
    x, delta = correlated(300, 24), change()
    outputs = (x @ delta.T).double().square().mean(0).sum()
    each = (x.double().square()[:, None] * delta.double().square()[None]).sum(2).mean(0).sum()

    def expected(q):
        return (1 - (1 - drop) / q) ** 2 * outputs + drop * (1 - drop) / q**2 * each

    found = least_divisor(delta, statistics(x), drop)
    assert found >= 1 - drop
    grid = np.linspace(0.5 * (1 - drop), 5 * max(found, 1 - drop), 4001)
    assert found == pytest.approx(min(grid, key=expected), abs=2 * (grid[1] - grid[0]))


def test_outputs_are_nearer_than_darts_where_much_is_dropped():
    x, errors = correlated(300, 24), {}
    for rule in ("closed", "dare"):
        errors[rule] = 0.0
        for seed in range(60):
            delta = change(seed=seed)
            (term,) = DAREx(drop=0.95, rule=rule, seed=seed).pack(delta, statistics(x), "a layer")
            errors[rule] += float((x @ (term.unpack() - delta).T).square().sum())
    assert errors["closed"] < 0.9 * errors["dare"]


def test_blocks_of_products_count_as_far_as_they_reach():
    x, delta = correlated(200, 16), change(3, 16)
    whole = x.T @ x / len(x)
    halves = InputStatistics(x.square().mean(0), (whole[:8, :8], whole[8:, 8:]))
    apart = torch.block_diag(whole[:8, :8], whole[8:, 8:])
    assert least_divisor(delta, halves, 0.9) == pytest.approx(
        least_divisor(delta, InputStatistics(x.square().mean(0), (apart,)), 0.9)
    )


def test_no_change_is_kept_as_none():
    nothing = torch.zeros(3, 24)
    (term,) = DAREx().pack(nothing, statistics(correlated(50, 24)), "a layer")
    assert (term.unpack() == 0).all()


def test_masks_are_a_function_of_seed_and_label_and_of_nothing_else():
    mask = drawn_mask(3, "denoiser.conv_in.weight", 0.3, (40, 50))
    assert float(mask.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(mask, drawn_mask(3, "denoiser.conv_in.weight", 0.3, (40, 50)))
    for seed, label in ((4, "denoiser.conv_in.weight"), (3, "denoiser.conv_out.weight")):
        assert float((mask == drawn_mask(seed, label, 0.3, (40, 50))).float().mean()) < 0.7
    assert drawn_mask(0, "a", 0.5, (1, 12)).int().tolist() == [FIRST_TWELVE]
    assert drawn_mask(0, "a", 1.0, (9, 9)).all()


FIRST_TWELVE = [1, 0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 0]
"""Of the seed 0 and the label a: a file that was written once must be read alike for ever."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("darex")
    base = load_model(tiny.sd_folder(folder / "base"))
    tuned = base.copy()
    with torch.no_grad():
        for k, weight in enumerate(tuned.denoiser.parameters()):
            weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(k))
    return folder, tuned, base


def test_the_change_alone_is_stored_and_wants_its_own_base(pair, tmp_path):
    folder, tuned, base = pair
    found = DAREx()(tuned, planted_rows(), base=base)
    saved = found.save(tmp_path)
    assert found.bytes < 0.25 * sum(2 * w.numel() for w in tuned.denoiser.state_dict().values())
    read = load_model(saved, like=folder / "base")
    assert read.same_weights(found.model)
    assert read.packing["denoiser"].on == base.fingerprint
    with pytest.raises(BadInput, match="give its base too"):
        load_model(saved)
    with pytest.raises(BadInput, match="fingerprint"):
        load_model(saved, like=tuned)


def test_a_base_is_needed_and_must_be_of_one_kind(pair, tmp_path):
    _, tuned, base = pair
    with pytest.raises(BadInput, match="give the base too"):
        DAREx().check(tuned)
    other = load_model(tiny.sd_folder(tmp_path / "other", prediction="v_prediction"))
    with pytest.raises(BadInput, match="prediction type"):
        DAREx().check(tuned, other)
    with pytest.raises(BadInput, match="takes no base"):
        RoundToNearest().check(tuned, base)


def test_every_layer_is_a_change(pair):
    with pytest.raises(ValueError, match="keep"):
        DAREx(keep=("conv_in",))
