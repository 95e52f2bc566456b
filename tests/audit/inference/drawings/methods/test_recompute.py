"""recompute: fakes met by lot, and their chances counted out."""

from itertools import combinations
from math import comb

import pytest
import torch

from inference_scenes import pictures
from intaglio.audit.inference.drawings.fake_odds import miss_chance, most_fakes, needed_checks
from intaglio.audit.inference.drawings.methods.recompute import Recompute
from intaglio.audit.inference.drawings.result import CheckedDrawing, CheckedDrawings
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet

SMALL = {"checked": 5}
BAD = {"checked": 0}
PIECES = {}


def test_chances_are_those_of_all_choices():
    fakes, choices = {0, 3}, list(combinations(range(7), 3))
    missed = sum(not fakes & {*one} for one in choices) / len(choices)
    assert miss_chance(7, 2, 3) == pytest.approx(missed) == pytest.approx(comb(5, 3) / comb(7, 3))
    assert miss_chance(7, 2, 6) == 0
    assert needed_checks(1000, 100) == 29
    assert miss_chance(1000, 100, 29) <= 0.05 < miss_chance(1000, 100, 28)


def test_so_many_fakes_or_fewer_there_are_in_95_of_100_lots():
    """Whatever their number, the limit lies below it in at most 5% of lots."""
    for fakes in (1, 7, 20, 39):
        below = sum(
            comb(fakes, found) * comb(40 - fakes, 10 - found) / comb(40, 10)
            for found in range(11)
            if found <= fakes and 10 - found <= 40 - fakes and most_fakes(40, found, 10) < fakes
        )
        assert below <= 0.05
    assert most_fakes(40, 0, 40) == 0
    ways = [sum(comb(fakes, k) * comb(100 - fakes, 20 - k) for k in range(4)) for fakes in range(81)]
    wanted = max(fakes for fakes, number in enumerate(ways) if number > 0.05 * comb(100, 20))
    assert most_fakes(100, 3, 20) == wanted == 32, "three fakes or fewer, not three alone"
    assert most_fakes(40, 10, 10) == 40


def test_fakes_are_those_that_lie_beyond_the_tolerance():
    images = pictures(6)
    drawn = dict(zip(images.names, images.pixels.clone(), strict=True))
    drawn = {name: 0.9 * one for name, one in drawn.items()}
    images = ImageSet.from_pixels(torch.stack([*drawn.values()]))
    drawn["0002"] = drawn["0002"] + 3 / 255
    drawn["0004"][:, ::2] += 1 / 255
    drawn["0005"] = drawn["0005"] + 0.01 / 255  # below what a file can hold
    found = Recompute(checked=9)(images, drawn.__getitem__)
    assert [one.name for one in found.fakes] == ["0002"]
    assert found.drawings[2].distance == pytest.approx(3, abs=1e-4)
    assert found.drawings[4].distance == pytest.approx(0.5, abs=1e-4)
    assert found.drawings[5].distance < 0.05
    assert (found.most_fakes, found.figures()["checked"]) == (1, 6)
    assert found.statement.endswith("All were checked.")


def test_the_lot_follows_from_seed_names_and_contents_and_falls_on_each_alike():
    images, met = pictures(8), torch.zeros(8)
    for seed in range(400):
        met[Recompute(checked=2, seed=seed).chosen(images)] += 1
    assert met.sum() == 800
    assert (met - 100).abs().max() < 4 * (400 * 0.25 * 0.75) ** 0.5
    names = {images.names[place] for place in Recompute(checked=3).chosen(images)}
    turned = images[list(range(7, -1, -1))]
    assert {turned.names[place] for place in Recompute(checked=3).chosen(turned)} == names


def test_what_is_said_of_the_rest():
    found = CheckedDrawings("recompute", "x", 1.0, 100, tuple(CheckedDrawing(str(k), "", 0.0) for k in range(20)))
    assert found.misses()[0] == (1, pytest.approx(0.8))
    assert f"at most {found.most_fakes} of all are" in found.statement
    assert found.most_fakes == 12  # C(88, 20) / C(100, 20) = 0.055, and 0.043 for 13
    with pytest.raises(BadInput, match="no pictures to check"):
        Recompute()(pictures(1)[[]], lambda name: pictures(1).pixels[0])
    with pytest.raises(BadInput, match="0000 is 16x16 pixels and drawn again 8x8"):
        Recompute()(pictures(1), lambda name: torch.zeros(3, 8, 8))
