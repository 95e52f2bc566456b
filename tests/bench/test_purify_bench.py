"""The bench of purifiers: payloads by hand, planted bit errors, strengths at a PSNR, and the bench on a tiny model."""

import numpy as np
import pytest
import torch

import tiny
from intaglio.bench.purify.bench import PAYLOADS, PurifyBench, shares
from intaglio.bench.purify.matched import levelled, matched, quality, treatments
from intaglio.bench.purify.payloads import BlockColours, LowBits, Projections
from intaglio.errors import BadInput
from intaglio.images.filters import jpeg
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.models import testbed
from protect_scenes import model


def pictures(count, side=32):
    return torch.randint(30, 226, (count, 3, side, side), generator=torch.Generator().manual_seed(0)) / 255


@pytest.mark.parametrize("payload", [*PAYLOADS.values(), Projections(tile=8, bits=6)], ids=repr)
def test_pictures_as_they_were_sent_have_no_errors_and_others_half(payload):
    given = pictures(5, 64)
    hidden = payload.hide(given, 1)
    assert hidden.meant.shape[0] == 5
    assert payload.bit_errors(hidden.pixels, hidden.meant, 1).tolist() == [0.0] * 5
    torch.testing.assert_close(hidden.pixels * 255, (hidden.pixels * 255).round(), rtol=0, atol=1e-4)
    spread = 0.5 / hidden.meant.numel() ** 0.5
    assert float(hidden.meant.double().mean()) == pytest.approx(0.5, abs=4 * spread)
    assert float(payload.bit_errors(hidden.pixels, ~hidden.meant, 1).min()) == 1.0
    assert not torch.equal(payload.hide(given, 2).meant, hidden.meant)
    first = payload.hide(given[:1], 1)
    assert torch.equal(first.pixels, hidden.pixels[:1]), "others make no difference"


def test_lsb_replaces_the_lowest_bit_of_a_share_of_the_numbers():
    given = pictures(2)
    hidden = LowBits(0.25).hide(given, 0)
    assert hidden.meant.shape == (2, 768)
    apart = (to_uint8(hidden.pixels).int() - to_uint8(given).int()).flatten(1)
    assert set(apart.unique().tolist()) == {-1, 0, 1}
    assert ((to_uint8(hidden.pixels) | 1) == (to_uint8(given) | 1)).all()
    changed = (apart != 0).sum(1)
    assert all(320 < int(one) < 450 for one in changed), "half of the places"
    with pytest.raises(ValueError, match="share must be above 0"):
        LowBits(0.0)


def test_independent_changes_by_one_at_a_rate_are_errors_at_that_rate_exactly():
    hidden = LowBits().hide(pictures(3), 0)
    source = torch.Generator().manual_seed(1)
    for rate in (0.1, 0.5):
        hit = torch.rand(hidden.pixels.shape, generator=source) < rate
        signs = torch.randint(0, 2, hidden.pixels.shape, generator=source) * 2 - 1
        changed = (to_uint8(hidden.pixels).int() + hit * signs) / 255
        found = LowBits().bit_errors(changed, hidden.meant, 0)
        assert torch.equal(found, hit.flatten(1).double().mean(1))


def test_projections_onto_tiles_lie_where_their_bits_say():
    """Anew: patterns of the key, orthonormal as a whole, and a quarter or three of a step."""
    payload, given = Projections(bits=5, tile=8, strength=4.0), pictures(2)
    hidden = payload.hide(given, 3)
    patterns = payload._patterns(given, 3).repeat(1, 1, 1, 4, 4).flatten(2) / 4
    torch.testing.assert_close(patterns @ patterns.mT, torch.eye(5).double().expand(2, 5, 5))
    step = 4.0 * (12 * 3 * 32 * 32 / 5) ** 0.5
    place = ((patterns @ (hidden.pixels * 255).round().double().flatten(1)[..., None])[..., 0] / step) % 1
    torch.testing.assert_close(place, 0.25 + 0.5 * hidden.meant.double(), rtol=0, atol=0.02)
    change = ((hidden.pixels - given) * 255).square().mean().sqrt()
    assert float(change) == pytest.approx(4.0, rel=0.4), "uniform in a step about"
    low = Projections(bits=5, highest=3.0)._patterns(given, 0)
    waves = torch.fft.rfft2(low).abs().amax((0, 1, 2))
    assert float(waves[4:-4].max()) < 1e-9 < float(waves[3].max())
    assert float(waves[0, 0]) < 1e-9


def test_the_mark_of_a_picture_has_a_key_of_its_own():
    hidden = BlockColours().hide(pictures(6, 64), 0)
    assert len({tuple(row) for row in hidden.meant.tolist()}) == 6


def test_strengths_are_found_at_which_pictures_change_as_wanted():
    given = levelled(torch.nn.functional.interpolate(pictures(3, 8), (32, 32), mode="bilinear"))
    ways = treatments(given, model(), 0)
    for name, way in ways.items():
        found = matched(way, given, 38.0)
        ratio = float(-10 * (found - given).square().mean((1, 2, 3)).log10().mean())
        assert ratio == pytest.approx(38.0, abs=0.3), name
        if name == "jpeg":
            assert torch.equal(way(0.5), jpeg(given, 95))
            assert torch.equal(way(1.0), jpeg(given, 1))
    gentle = matched(ways["median"], given, 5.0)
    assert torch.equal(gentle, levelled(ways["median"](1.0))), "no more than it can"
    assert (quality(0.0), quality(1.0)) == (95, 1)


def test_left_is_the_distance_from_one_half_on_either_side():
    found = shares({"each": [0.75, 1.0, 0.875], "psnr": 40.0})
    assert (found["errors"], found["left"], found["psnr"]) == (0.875, 0.375, 40.0)
    low, high = found["interval"]
    assert 0.75 <= low < 0.875 < high <= 1.0
    assert np.isclose(shares({"each": [0.25, 0.25]})["left"], 0.25)


def test_the_bench_measures_every_purifier_and_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    faces = ImageSet.from_pixels(pictures(6))
    monkeypatch.setattr(testbed, "controls_wide", lambda: faces)
    monkeypatch.setattr(testbed, "base_path", lambda: tiny.sd_folder(tmp_path / "base"))
    bench = PurifyBench(payloads=("lsb", "tiles"), pictures=4, runs=tmp_path / "runs")
    from intaglio.bench.purify import bench as room

    measured, made = room.measured, []

    def stopped(payload, *rest):
        if made:
            raise KeyboardInterrupt
        made.append(payload)
        return measured(payload, *rest)

    monkeypatch.setattr(room, "measured", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    monkeypatch.setattr(room, "measured", lambda payload, *rest: made.append(payload) or measured(payload, *rest))
    figures = bench(progress="none")
    assert made == [PAYLOADS["lsb"], PAYLOADS["tiles"]]
    row = figures["rows"]["lsb"]
    assert set(row) == {"none", "ddsp", "jpeg", "median", "blur", "noise", "round-trip", "rounded"}
    assert (figures["errors_lsb_none"], row["none"]["psnr"]) == (0.0, 99.0)
    assert row["ddsp"]["errors"] == pytest.approx(0.5, abs=0.03)
    assert row["rounded"]["errors"] == pytest.approx(0.5, abs=0.03)
    assert row["noise"]["psnr"] == pytest.approx(row["ddsp"]["psnr"], abs=0.2)
    assert "wrong bits" in bench.summary(figures)
    with pytest.raises(BadInput, match="no payload 'x'; choose from: lsb"):
        PurifyBench(payloads=("x",))
