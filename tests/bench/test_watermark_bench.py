"""The watermark bench end to end on a tiny model, its figures against planted p-values, and its attacks."""

from dataclasses import dataclass, replace

import pytest
import torch

import tiny
from intaglio.bench.kit.attacks import ATTACKS, attacked, brightened, cropped
from intaglio.bench.watermark import bench as watermark
from intaglio.bench.watermark.bench import WatermarkBench
from intaglio.bench.watermark.figures import _row
from intaglio.bench.watermark.mark_row import USERS, MarkRow, MarkScene
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.protect.fingerprint.decoder_tuning import with_own_decoder
from intaglio.protect.fingerprint.methods.dwt_dct import DwtDct
from intaglio.protect.fingerprint.methods.stable_signature import StableSignature
from intaglio.protect.fingerprint.methods.tree_ring import TreeRing
from protect_scenes import levels, model

ROWS = {"tree-ring": TreeRing(inversion_steps=2), "dwt-dct": DwtDct(bits=16)}


def people():
    pixels = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return ImageSet.from_pixels(pixels, captions=["red cat", "dog", "cat", "red dog", "a", "b"])


def test_every_row_is_measured_and_a_killed_bench_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(testbed, "real_pictures", people)
    monkeypatch.setattr(WatermarkBench, "_rows", lambda self: ROWS)
    monkeypatch.setattr(watermark, "_resized", lambda pixels, model: pixels)
    base = tiny.sd_folder(tmp_path / "base")
    bench = WatermarkBench(model=base, runs=tmp_path / "runs", workers=1, pictures=4, keys=2, steps=2)
    measured, made = WatermarkBench._measured, []

    def stopped(self, name):
        if made:
            raise KeyboardInterrupt
        made.append(name)
        return measured(self, name)

    monkeypatch.setattr(WatermarkBench, "_measured", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    monkeypatch.setattr(WatermarkBench, "_measured", lambda self, name: made.append(name) or measured(self, name))
    figures = bench(progress="none")
    assert made == list(ROWS)
    assert set(figures["rows"]["dwt-dct"]["attacks"]) == set(ATTACKS)
    pixels = figures["rows"]["dwt-dct"]
    assert (pixels["attacks"]["none"]["bits"], pixels["attacks"]["none"]["top1"]) == (1, 1)
    assert pixels["attacks"]["jpeg-50"]["bits"] < 0.9
    assert pixels["false_calls"]["other key"]["1e-3"] == 0
    assert figures["rows"]["dwt-dct"]["false_calls"]["real"]["tests"] == 8
    assert set(figures["rows"]["tree-ring"]["forgeries"]) == {"copied", "redrawn"}
    assert {"kid", "kid_floor"} < set(figures["rows"]["tree-ring"])
    assert "wrong user" in bench.summary(figures)


def test_an_owner_is_judged_by_their_own_mark_and_forgeries_by_user_0_s():
    """All pictures carry the mark of user 3, who owns the last of them alone."""
    scene = MarkScene(model(), people().pixels, ("a", "b", "c", "d"), 2, 1.0, 0, 2)
    row = MarkRow(DwtDct(bits=16), scene)
    assert row.users == [0, 0, 2, 3]
    given = torch.cat([row.mark.embed(one[None], row.key, 3) for one in scene.real[:4]])
    row.__dict__["marked"] = given
    found = row.under("none")
    assert found["likeliest"] == [False, False, False, True]
    assert found["least"] == pytest.approx([2.0**-16] * 4)
    assert found["p"][3] == pytest.approx(2.0**-16)
    assert min(found["p"][:3]) > 1e-3
    owned = torch.cat([row.mark.embed(one[None], row.key, 0) for one in scene.real[:4]])
    assert row._own(row.read(owned), [0] * 4) == pytest.approx([2.0**-16] * 4)


@dataclass(frozen=True, kw_only=True)
class Brightening(StableSignature):
    """A mark in weights that adds a tenth of the range for each user, and reads bits of the mean."""

    def apply(self, model, latents, key, user, *, seed=0, run=None):
        changed = with_own_decoder(model, "brighter")
        with torch.no_grad():
            changed.autoencoder.decoder.conv_out.bias += 0.2 * user
        return changed

    def read(self, pixels):
        return pixels.mean((1, 2, 3))[:, None].expand(-1, self.bits) - 0.5


def test_each_user_s_decoder_draws_twins_of_what_the_model_draws_unmarked():
    scene = MarkScene(model(), people().pixels[..., :16, :16], ("a", "red cat", "dog", "d"), 2, 60.0, 0, 2)
    row = MarkRow(Brightening(), scene)
    assert row.users == [0, 0, 1, 1]
    before = scene.model.part_fingerprint("autoencoder")
    lighter = row.marked[2:] - row.plain[2:]
    inside = (row.plain[2:] < 0.89) & (row.plain[2:] > 0)
    assert float(inside.double().mean()) > 0.2
    torch.testing.assert_close(lighter[inside], torch.full_like(lighter[inside], 0.1), rtol=0, atol=1.01 / 255)
    assert torch.equal(row.marked[:2], row.plain[:2])
    assert set(row.quality()) == {"psnr", "kid", "kid_floor", "once_s", "user_s"}
    assert set(row.forgeries()) == {"copied"}
    assert scene.model.part_fingerprint("autoencoder") == before


def test_what_a_mark_learns_once_serves_both_users(monkeypatch):
    """Whoever reads the row before it is marked gets what was learnt, too."""
    asked = []

    def ready(self, model, latents, folder, *, seed=0):
        asked.append((len(latents), folder.is_dir()))
        return replace(self, bits=2)

    monkeypatch.setattr(Brightening, "ready", ready)
    row = MarkRow(Brightening(), MarkScene(model(), people().pixels[..., :16, :16], ("a", "b"), 2, 1.0, 0, 2))
    assert row.read(row.plain).shape == (2, 2)
    assert len(row.marked) == 2
    assert asked == [(6, True)]


def test_figures_are_the_shares_that_they_name():
    attack = {"attack": "none", "p": [1e-7, 2e-4, 0.005, 0.5], "bits": [1.0, None, None, 0.5], "seconds": 1.0}
    attack |= {"likeliest": [True, False, False, False], "least": [1e-7, 0.9, 0.005 / USERS, 1e-9]}
    nulls = {"real": [[0.5, 0.01], [0.02, 0.001]]}
    row = _row({"attacks": [attack], "nulls": nulls, "forgeries": {"copied": [0.001, 0.1]}, "quality": {"psnr": 40.0}})
    found = row["attacks"]["none"]
    assert [found[f"tpr_{rate}"] for rate in ("1pct", "1e-3", "1e-6")] == [0.75, 0.5, 0.25]
    assert (found["bits"], found["top1"]) == (0.75, 0.25)
    assert found["called_of_all_users"] == 0.75
    assert found["false_attribution"] == 0.5
    assert (row["false_calls"]["real"]["1pct"], row["false_calls"]["real"]["1e-3"]) == (0.5, 0.25)
    assert row["forgeries"] == {"copied": 0.5}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_keep_size_and_levels_and_know_nothing_of_other_pictures(name):
    net, given = model(), levels(3)
    found = attacked(name, given, net, 5)
    assert found.shape == given.shape
    torch.testing.assert_close(255 * found, (255 * found).round(), rtol=0, atol=1e-4)
    torch.testing.assert_close(found[:1], attacked(name, given[:1], net, 5), rtol=0, atol=1.01 / 255)
    assert torch.equal(found, given) is (name == "none")


def test_a_crop_shows_the_middle_and_brightness_is_half_as_much_again():
    half = torch.zeros(1, 3, 16, 16)
    half[..., 8:] = 1.0
    assert float(cropped(half)[..., :5].max()) < 0.1 < 0.9 < float(cropped(half)[..., 11:].min())
    corner = torch.zeros(1, 3, 16, 16)
    corner[..., :2, :2] = 1.0
    assert float(cropped(corner).max()) < 0.1
    torch.testing.assert_close(
        brightened(torch.tensor([[[[0.2, 0.8]]]]).expand(1, 3, 1, 2))[0, 0, 0], torch.tensor([0.3, 1.0])
    )


def test_a_quick_bench_leaves_out_marks_that_learn_once_unless_they_are_named():
    assert "wouaf" in WatermarkBench()._rows()
    assert "wouaf" not in WatermarkBench(quick=True)._rows()
    assert {*WatermarkBench()._rows()} - {*WatermarkBench(quick=True)._rows()} == {"wouaf"}
    assert list(WatermarkBench(quick=True, marks=("wouaf",))._rows()) == ["wouaf"]


def test_a_mark_that_is_not_there_is_told():
    with pytest.raises(BadInput, match="no mark called 'x'; choose from: dwt-dct"):
        WatermarkBench(marks=("x",))._rows()
