import numpy as np
import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.packing.drawn_entries import drawn_mask
from intaglio.shrink.methods import darex
from intaglio.shrink.methods.darex import DAREx
from intaglio.shrink.methods.rtn import RoundToNearest
from shrink_scenes import planted_rows

SMALL = {"drop": 0.5}
BAD = {"drop": 1.0}
PIECES = {"batch": 3}


def change(rows=5, columns=24, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 1e-3


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
def test_the_divisor_is_the_best_of_a_grid(pair, drop, monkeypatch):
    """The expected squared error (1-(1-p)/q)² + p(1-p)/q²·V/S², for each q, with V/S² planted."""
    _, tuned, base = pair
    monkeypatch.setattr(darex, "lost_change", lambda *given: 0.3)
    found = DAREx(drop=drop)(tuned, planted_rows(), base=base)

    def expected(q):
        return (1 - (1 - drop) / q) ** 2 + drop * (1 - drop) / q**2 * 0.3**2

    grid = np.linspace(0.5 * (1 - drop), 2, 20_001)
    assert found.packing.settings["divisor"] == pytest.approx(min(grid, key=expected), abs=2e-4)
    named = DAREx(drop=drop, rule="dare")(tuned, planted_rows(), base=base)
    assert named.packing.settings["divisor"] == pytest.approx(1 - drop)


def test_the_spread_is_what_half_of_the_entries_lose_of_the_predictions(pair):
    """Written out on single rows: the change of the predictions by a mask of half, times two, over the whole change."""
    _, tuned, base = pair
    rows = planted_rows()
    half = DAREx(drop=0.5, divisor=0.5)(tuned, rows, base=base).model
    lost = whole = 0.0
    with torch.no_grad():
        for k in range(len(rows)):
            if rows.origins[k] % 8 != 7:
                given = base.embed([rows.texts[rows.places[k]]])
                x, t = rows.latents[k : k + 1], rows.t[k : k + 1]
                before, after, small = (model.predict(x, t, given) for model in (base, tuned, half))
                lost, whole = (
                    lost + float((small - after).square().sum()),
                    whole + float((after - before).square().sum()),
                )
    found = DAREx(drop=0.9)(tuned, rows, base=base).packing.settings["divisor"]
    assert found == pytest.approx(0.1 + 0.9 * lost / whole, rel=1e-3)


def test_no_change_is_kept_as_none(pair):
    (term,) = DAREx().pack(torch.zeros(3, 24), None, "a layer")
    assert (term.unpack() == 0).all()
    _, _, base = pair
    same = DAREx()(base.copy(), planted_rows(), base=base)
    for name, weight in same.model.denoiser.state_dict().items():
        assert torch.allclose(weight, base.denoiser.state_dict()[name], atol=1e-3)


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
