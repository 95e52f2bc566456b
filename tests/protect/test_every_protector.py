"""What holds of every protection; a method joins by its file and its own test."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.capabilities import check_needs
from intaglio.protect import descent, protection
from intaglio.protect.budget import largest_difference
from intaglio.protect.originals import read_original
from protect_scenes import model, originals
from rows import matrix

ROWS = [pytest.param(row, id=key) for key, row in matrix().items() if row.verb == "protect"]
every_protector = pytest.mark.parametrize("row", ROWS)
UNLIKE = ("advdm", "anti-dreambooth", "mist", "photoguard-diffusion")
"""A gradient of one loss, one of a surrogate that learns, one of two losses, and one through a whole walk."""
unlike_protectors = pytest.mark.parametrize("row", [row for row in ROWS if row.values[0].key.split()[-1] in UNLIKE])
"""For what the shared descent does with any method's gradient."""


def made(row, **changes):
    return load(row.target)(**{**row.small, **changes})


@pytest.fixture(scope="module")
def net():
    return model()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return originals(tmp_path_factory.mktemp("pictures"))


def protect(method, net, pictures, folder, **about):
    return protection.protect(method, net, pictures, folder, prompt="cat", **about)


def read(result):
    return {one.name: read_original(result.folder / one.saved, one.saved) for one in result.pictures}


@every_protector
def test_it_says_of_itself_what_reports_and_benches_need(row):
    kind = load(row.target)
    assert kind.name == row.method
    assert kind.role in ("method", "baseline")
    assert kind.reading[0].islower()
    assert not kind.reading.endswith(".")
    assert kind.objective[0].islower()


@every_protector
def test_a_model_without_what_it_needs_is_refused_before_any_work(row, pictures, tmp_path):
    with pytest.raises(BadInput, match=f"{row.method} needs a model that .*; TarFlow does not"):
        check_needs(made(row), tiny.flow(double=False))


@pytest.mark.parametrize(
    ("row", "budget"),
    [pytest.param(*row.values, 3.9, id=f"3.9-{row.id}") for row in ROWS]  # whole levels are rounded in one place
    + [pytest.param(*row.values, 1.0, id=f"1.0-{row.id}") for row in ROWS if row.id == "protect advdm"],
)
def test_no_file_exceeds_its_budget_by_a_single_grey_level(row, net, pictures, tmp_path, budget):
    method = made(row, budget=budget, step=budget, steps=2, start="random")
    result = protect(method, net, pictures, tmp_path)
    for one in pictures:
        found = read(result)[one.name]
        largest = largest_difference(found.pixels, one.pixels)
        assert 0 < largest <= int(budget)
        assert largest == next(p.largest_difference for p in result.pictures if p.name == one.name)


@unlike_protectors
@pytest.mark.parametrize("changes", [{"budget": 0.0, "steps": 1}, {"steps": 0}])
def test_nothing_allowed_or_nothing_done_gives_the_same_pixels(row, net, pictures, tmp_path, changes):
    result = protect(made(row, **changes), net, pictures, tmp_path)
    for one in pictures:
        assert np.array_equal(read(result)[one.name].pixels, one.pixels)


@every_protector
def test_what_it_raises_is_higher_afterwards(row, net, pictures, tmp_path):
    if row.key != f"protect {row.method}":
        return  # a variant's direction need not be one that an untrained model follows
    result = protect(made(row, steps=24, budget=16.0, step=4.0), net, pictures, tmp_path)
    gains = [one.objective_after - one.objective_before for one in result.pictures]
    assert sum(gains) > 0


@unlike_protectors
def test_transparent_and_masked_pixels_stay(row, net, pictures, tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 2:7] = 255
    result = protect(made(row, steps=2), net, pictures, tmp_path, masks={"0.png": mask})
    found = read(result)
    changed = (found["0.png"].pixels != pictures[0].pixels).any(-1)
    assert changed.any()
    assert not changed[mask == 0].any()
    clear = pictures[2].alpha == 0
    assert np.array_equal(found["2.png"].pixels[clear], pictures[2].pixels[clear])
    assert np.array_equal(found["2.png"].alpha, pictures[2].alpha)


@every_protector
def test_neither_order_nor_company_changes_a_picture(row, net, pictures, tmp_path):
    if load(row.target).joint:
        return  # the surrogate learns the pictures together
    together = read(protect(made(row, steps=2), net, pictures, tmp_path / "a"))
    turned = read(protect(made(row, steps=2, batch=1), net, pictures[1::-1], tmp_path / "b"))
    for name, one in turned.items():  # without the third, alone in their batches, the other way round
        # rounding in other batches may turn the sign of a gradient that is nearly zero
        assert float((one.pixels != together[name].pixels).mean()) < 0.02


@unlike_protectors
def test_the_objective_afterwards_is_that_of_the_picture_given_back(row, net, pictures, tmp_path):
    result = protect(made(row, budget=0.5, steps=1, start="random"), net, pictures, tmp_path)
    for one in result.pictures:
        assert one.largest_difference == 0
        assert one.objective_after == one.objective_before


@unlike_protectors
def test_a_floor_of_similarity_is_kept(row, net, pictures, tmp_path):
    free = protect(made(row, budget=32.0, step=16.0, steps=2), net, pictures, tmp_path / "a")
    floor = (1 + max(one.ssim for one in free.pictures)) / 2
    kept = protect(made(row, budget=32.0, step=16.0, steps=2, least_ssim=floor), net, pictures, tmp_path / "b")
    assert all(one.ssim >= floor for one in kept.pictures)
    assert all(one.largest_difference > 0 for one in kept.pictures)


@unlike_protectors
def test_flat_areas_change_less(row, net, tmp_path):
    pixels = np.full((16, 40, 3), 128, np.uint8)
    pixels[:, 20:] = np.random.default_rng(0).integers(0, 256, (16, 20, 3))
    Image.fromarray(pixels).save(tmp_path / "half.png")
    one = read_original(tmp_path / "half.png", "half.png")
    result = protect(made(row, budget=16.0, step=16.0, flat=0.25), net, [one], tmp_path / "out")
    change = np.abs(read(result)["half.png"].pixels.astype(int) - pixels)
    assert change[:, :14].max() <= 4
    assert change[:, 26:].max() > 4


@unlike_protectors
def test_transformations_are_drawn_in_every_step_and_in_no_check(row, net, pictures, tmp_path, monkeypatch):
    drawn, original = [], descent.transformed

    def noted(view, names, source):
        drawn.append(names)
        return original(view, names, source)

    monkeypatch.setattr(descent, "transformed", noted)
    method = made(row, transformations=("resize", "noise"), draws=2, view="whole", steps=2)
    plain = read(protect(made(row, view="whole", steps=2), net, pictures, tmp_path / "a"))
    assert not drawn
    result = protect(method, net, pictures, tmp_path / "b")
    assert drawn == [("resize", "noise")] * (2 * method.steps * len(pictures))
    assert result.transformations == ("resize", "noise")
    assert any((read(result)[name].pixels != one.pixels).any() for name, one in plain.items())


@unlike_protectors
def test_a_gradient_that_is_not_finite_is_named(row, net, pictures, tmp_path, monkeypatch):
    kind = load(row.target)
    original = kind.gradient

    def spoilt(self, surrogate, pixels, target, sources):
        value, slope = original(self, surrogate, pixels, target, sources)
        return value, torch.full_like(slope, float("nan"))

    monkeypatch.setattr(kind, "gradient", spoilt)
    with pytest.raises(IntaglioError, match=r"the gradient of .*\.png is not finite in float32"):
        protect(made(row), net, pictures, tmp_path)


@unlike_protectors
def test_masks_and_sets_that_cannot_be_are_refused(row, net, pictures, tmp_path):
    for mask, words in (
        (np.zeros((16, 16), np.uint8), "black everywhere"),
        (np.ones((8, 16), np.uint8), "another size"),
    ):
        with pytest.raises(BadInput, match=f"the mask of 0.png .*{words}"):
            protect(made(row), net, pictures, tmp_path, masks={"0.png": mask})
    with pytest.raises(BadInput, match="no pictures to protect"):
        protect(made(row), net, [], tmp_path)


@every_protector
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("budget", -1.0),
        ("budget", 65.0),
        ("step", 0.0),
        ("steps", -1),
        ("batch", 0),
        ("micro_batch", 0),
        ("least_ssim", 1.0),
        ("flat", 0.0),
        ("transformations", ("tv",)),
        ("draws", 0),
        ("draws", 2),
    ],
)
def test_settings_out_of_range_are_refused_by_name(row, name, value):
    with pytest.raises(ValueError, match=name):
        made(row, **{name: value})
    assert dataclasses.is_dataclass(made(row))
