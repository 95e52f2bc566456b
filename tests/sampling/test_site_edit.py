"""Edits of a site towards a value of each picture: their formula, the rows and pictures they touch, and their file."""

import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.sparse_codes import SparseAutoencoder
from intaglio.sampling.guides.site_edit_guide import SiteEditGuide
from intaglio.sampling.loop import sample
from intaglio.sampling.site_edit import SiteEdit, ValueCodes, ValueShifts

SITE, CHANNELS = "mid_block", 64


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("site-edit")))


def codes(way="add", amount=5.0, channels=CHANNELS):
    source = torch.Generator().manual_seed(1)
    encoder, dictionary = (torch.randn(10, channels, generator=source) for _ in range(2))
    known = SparseAutoencoder(2.0, 3, encoder, 0.1 * torch.randn(10, generator=source), dictionary)
    return ValueCodes(known, torch.tensor([[1, 4], [7, 1]]), torch.full((2, 2), amount), way)


def drawn(model, edit=None, seeds=(1, 2, 3), scale=3.0, batch=8):
    guide = None if edit is None else SiteEditGuide(scale, edit)
    options = {"steps": 2, "guidance_scale": scale, "guide": guide, "batch": batch}
    return sample(model, ["cat"] * len(seeds), list(seeds), **options).pixels


def edit_of(model, change, values=("a", "b")):
    return SiteEdit(SITE, values, model.fingerprint, change, seed=5)


@pytest.fixture(scope="module")
def channels(model):
    return model.denoiser.config.block_out_channels[-1]


@pytest.mark.parametrize("way", ["add", "multiply"])
def test_the_output_moves_by_the_change_of_the_codes_without_any_bias(way):
    """By hand: the three largest positive numbers of a place are its codes; those of the row's value are changed."""
    change, h = codes(way, channels=6), torch.randn(2, 6, 2, 2, generator=torch.Generator().manual_seed(2))
    known, towards = change.autoencoder, torch.tensor([1, 0])
    expected = h.clone()
    for row in range(2):
        for place in [(0, 0), (0, 1), (1, 0), (1, 1)]:
            here = (slice(None), *place)
            given = (known.encoder @ (h[row][here] / 2) + known.offset).clamp_min(0)
            z = torch.where(given >= given.sort().values[-3], given, torch.zeros(()))
            changed = z.clone()
            for code in change.features[towards[row]].tolist():
                changed[code] = z[code] + 5 if way == "add" else z[code] * 6
            expected[row][here] += 2 * (changed @ known.dictionary - z @ known.dictionary)
    edit = SiteEdit(SITE, ("a", "b"), "m", change)
    torch.testing.assert_close(edit.edited(h, towards, 3), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_no_strength_changes_no_bit_and_the_negative_rows_are_never_touched(model, channels, scale):
    plain = drawn(model, scale=scale)
    shifts = ValueShifts(torch.zeros(2, 1, channels, 1, 1), (1,))
    nothing = codes("add", 0.0, channels), codes("multiply", 0.0, channels), codes("add", 5.0, channels).scaled(0.0)
    for change in nothing:
        assert torch.equal(drawn(model, edit_of(model, change), scale=scale), plain)
    strong = edit_of(model, codes("add", 5.0, channels))
    assert not torch.equal(drawn(model, strong, scale=scale), plain)
    with pytest.raises(BadInput, match="is of shape"):
        drawn(model, edit_of(model, shifts), scale=scale)
    assert not any(module._forward_hooks for module in model.denoiser.modules())  # also after an error
    # With guidance 0 the prompt's rows do not count, and they alone are edited.
    assert torch.equal(drawn(model, strong, scale=0.0), drawn(model, scale=0.0))


def test_a_picture_takes_the_same_value_in_whatever_batch(model, channels):
    edit = edit_of(model, codes("add", 5.0, channels))
    one, all_at_once = drawn(model, edit, batch=1), drawn(model, edit)
    torch.testing.assert_close(one, all_at_once, atol=1e-4, rtol=0)
    towards = edit.towards(range(400))
    assert torch.equal(towards[7:9], edit.towards([7, 8]))
    assert 150 < int(towards.sum()) < 250


def test_an_edit_is_stored_whole_and_a_damaged_one_is_told(tmp_path, model):
    h = torch.randn(3, CHANNELS, 2, 2, generator=torch.Generator().manual_seed(3))
    towards = torch.tensor([0, 1, 1])
    shifts = torch.randn(2, 2, CHANNELS, 2, 2, generator=torch.Generator().manual_seed(4))
    for change in (codes("add"), codes("multiply"), ValueShifts(shifts, (9, 1))):
        edit = edit_of(model, change)
        edit.save(tmp_path / "edit.safetensors")
        again = SiteEdit.load(tmp_path)
        assert again is not None
        assert (again.site, again.values, again.model, again.seed) == (SITE, ("a", "b"), model.fingerprint, 5)
        assert torch.equal(again.edited(h, towards, 7), edit.edited(h, towards, 7))
    assert SiteEdit.load(tmp_path / "none") is None
    bad = edit_of(model, ValueShifts(shifts, (9, 1)), ("a",))
    bad.save(tmp_path / "bad.safetensors")
    with pytest.raises(BadInput, match="is damaged .*values and tensors do not fit"):
        SiteEdit.load(tmp_path / "bad.safetensors")
