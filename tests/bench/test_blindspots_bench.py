"""The bench of blind spots: specific concepts and their separation by hand, and the bench on a tiny model."""

import numpy as np
import pytest
import torch

import tiny
from intaglio.bench.blindspots import bench as room
from intaglio.bench.blindspots import unseen as shared
from intaglio.bench.blindspots.bench import BlindSpotsBench, figures_of
from intaglio.bench.blindspots.unseen import Unseen, first_of, joined, separation_of, share, specific, spread
from intaglio.bench.blindspots.unseen_kind import KINDS, UnseenKind
from intaglio.errors import BadInput
from intaglio.explain.blindspots.methods.channels import ChannelEnergies
from intaglio.explain.blindspots.pictured_pairs import PicturedPairs
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model


def test_specific_concepts_have_twice_the_energy_of_the_other_side():
    source = np.random.default_rng(0)
    own, known = 1 + source.random((60, 4)), 1 + source.random((50, 4))
    own[:, 0] *= 3
    known[:, 1] *= 3
    own[:, 2] *= 1.3  # sure, and too little
    own[:, 3] = known[:, 3] = 0
    own[0, 3] = 1e3  # much, and not sure
    ours, theirs = specific(own, known)
    assert ours.tolist() == [True, False, False, False]
    assert theirs.tolist() == [False, True, False, False]
    own[:, 0] = 0
    own[:4, 0] = 1e3  # sure that it is rarer, and more in the mean
    assert not specific(own, known)[0][0]
    assert not specific(own, known)[1][0]


def test_separation_by_hand():
    real = np.array([[4.0, 1.0, 2.0, 1.0]] * 6)
    other = np.array([[1.0, 2.0, 1.0, 0.4]] * 6)
    ours, theirs = np.array([True, False, True, False]), np.array([False, True, False, True])
    # Log ratios of theirs: log 2, log 0.4; of ours log 1/4, log 1/2: three of four pairs are in order.
    assert separation_of(real, other, ours, theirs, 0) == [0.75, 0.75, 0.75]
    assert separation_of(real, other, ours, ~ours & ~theirs, 0) == [None, None, None]
    assert share({0: "suppressed", 2: ""}, ours, "suppressed") == 0.5
    assert share({}, ~ours & ours, "suppressed") is None


def test_the_first_concepts_are_those_that_lose_most():
    real, other = np.array([[8.0, 4.0, 2.0, 1.0]] * 3), np.array([[1.0, 4.0, 1.0, 1.0]] * 3)
    chosen = np.array([True, True, False, False])
    # Losses by 8, 1, 2 and 1 times: the first two are numbers 0 and 2.
    assert first_of(real, other, chosen, 2) == 1
    assert first_of(real, other, ~chosen, 2) == 1
    assert first_of(real, other, ~chosen, 1) == 0


def test_pairs_of_a_withheld_kind_are_a_quarter_and_sets_that_have_some_of_it_stay_out(tmp_path, monkeypatch):
    def colour(value, count):
        pixels = torch.full((count, 3, 8, 8), value) + torch.arange(count)[:, None, None, None] / 1000
        return ImageSet.from_pixels(pixels, captions=[f"{value:.2f} {k}" for k in range(count)])

    names = ("vehicles", "places", "sky-and-time", "mammals", "meals", "plants-and-produce", "birds-bugs-and-fish")
    sets = {}
    for k, name in enumerate(names):
        own, noto = colour(k / 10, 4), colour(k / 10 + 0.05, 2)
        sets[name] = testbed.FewShot(noto, noto, own, own, own)
    monkeypatch.setattr(testbed, "sets", lambda: names)
    monkeypatch.setattr(testbed, "few_shot", sets.__getitem__)
    model = load_model(tiny.sd_folder(tmp_path / "base"))
    scene = UnseenKind(model, 16, 0, "Animals & Nature")
    of = [names[int(caption[2])] for caption in scene.real.captions]
    assert of.count("mammals") == of.count("birds-bugs-and-fish") == 2
    assert set(of) == set(names) - {"plants-and-produce"}
    assert len(of) == len(set(scene.real.captions)) == 16
    ours, theirs = scene.apart
    assert {caption[:4] for caption in ours.captions} == {"0.35", "0.65"}
    assert {caption[:4] for caption in theirs.captions} == {"0.05", "0.15", "0.25", "0.45"}
    assert not set(scene.real.hashes) & {*ours.hashes, *theirs.hashes}
    assert len(UnseenKind(model, 20, 0, "Animals & Nature").real) == 20


def test_every_kind_names_sets_of_the_testbed():
    named = [name for parts in KINDS.values() for part in parts for name in part]
    assert set(named) == set(testbed.sets())
    wholly = [name for whole, _ in KINDS.values() for name in whole]
    assert len(wholly) == len(set(wholly))


def test_sets_are_joined_with_their_captions_and_spread_from_end_to_end():
    some = ImageSet.from_pixels(tiny.pixels(3, 0), captions=["a", "b", "c"])
    both = joined(some, ImageSet.from_pixels(tiny.pixels(2, 1)))
    assert list(both.captions) == ["a", "b", "c", None, None]
    assert spread(both, 3).pixels.equal(both.pixels[[0, 2, 4]])


def test_every_figure_is_of_its_own_pictures(tmp_path, monkeypatch):
    """Pictures of one grey each, whose codes are that grey: real 2, decoded 4, drawn 6; of the kind 8, of others 1."""

    def grey(tenths, count):
        return torch.full((count, 3, 16, 16), tenths / 10) + torch.arange(count).view(-1, 1, 1, 1) / 1000

    class Greys(ChannelEnergies):
        name = "greys"

        def sums(self, scored, learnt, asked):
            told = (10 * asked.pixels.mean((1, 2, 3))).round().double()
            return torch.stack([told, 10 - told], 1), 0.0

    given = {}
    monkeypatch.setattr(shared, "specific", lambda *sides: given.update(sides=sides) or (np.array([True, False]),) * 2)
    monkeypatch.setattr(shared, "separation_of", lambda real, other, *rest: [real[0, 0], other[0, 0], 0.0])
    scene = UnseenKind(load_model(tiny.sd_folder(tmp_path / "base")), 3, 0, "Objects")
    vars(scene)["apart"] = ImageSet.from_pixels(grey(8, 2)), ImageSet.from_pixels(grey(1, 5))
    pairs = PicturedPairs(("a", "b", "c"), {"real": grey(2, 3), "generated": grey(6, 3), "decoded": grey(4, 3)})
    assert scene.row(Greys(), pairs)["against"] is None
    found = scene.row(Greys(), pairs, grey(9, 3))
    assert found["against"][:2] == [9, 6]
    assert [found[name][:2] for name in ("auc", "control", "beyond")] == [[2, 6], [2, 4], [4, 6]]
    assert [side[:, 0].tolist() for side in given["sides"]] == [[8] * 2, [1] * 5]


def test_the_bench_measures_rows_by_scale_and_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    def some(count, seed):
        return ImageSet.from_pixels(tiny.pixels(count, seed)[..., :16, :16], captions=["x"] * count)

    wide, own, known = some(8, 0), some(4, 1), some(6, 2)
    monkeypatch.setattr(testbed, "base_path", lambda: tiny.sd_folder(tmp_path / "base"))
    monkeypatch.setattr(testbed, "sets", lambda: ("one",))
    monkeypatch.setattr(testbed, "few_shot", lambda name: testbed.FewShot(own, own, own, own, own))
    monkeypatch.setattr(testbed, "controls_wide", lambda: wide)
    monkeypatch.setattr(testbed, "real_pictures", lambda: known)
    monkeypatch.setattr(room, "QUICK_PAIRS", 3)
    bench = BlindSpotsBench(quick=True, rows=("channels",), guidance=(1.0, 2.0), runs=tmp_path / "runs")
    row, asked = Unseen.row, []

    def stopped(self, method, pairs):
        if asked:
            raise KeyboardInterrupt
        asked.append(method.name)
        return row(self, method, pairs)

    monkeypatch.setattr(Unseen, "row", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    monkeypatch.setattr(Unseen, "row", lambda *given: asked.append("again") or row(*given))
    figures = bench(progress="none")
    assert asked == ["channels", "again"]
    found = figures["rows"]["channels"]
    assert set(found) == {"1", "2"}
    assert found["1"]["pairs"] == 3
    assert figures["auc_channels_1"] == found["1"]["auc"][0]
    assert "Noto's suppressed" in bench.summary(figures)
    with pytest.raises(BadInput, match=r"no row called 'x'; choose from: channels, dictionary, dictionary free"):
        BlindSpotsBench(rows=("x",))()
    with pytest.raises(ValueError, match="give withheld and kind"):
        BlindSpotsBench(kind="Objects")
    with pytest.raises(ValueError, match="guidance must be scales"):
        BlindSpotsBench(guidance=())


def test_a_base_without_a_kind_is_measured_beside_the_whole_one(tmp_path, monkeypatch):
    few = ImageSet.from_pixels(tiny.pixels(6, 0)[..., :16, :16], captions=["x"] * 6)
    monkeypatch.setattr(testbed, "base_path", lambda: tiny.sd_folder(tmp_path / "base"))
    monkeypatch.setattr(testbed, "few_shot", lambda name: testbed.FewShot(few, few, few, few, few))
    monkeypatch.setattr(room, "QUICK_PAIRS", 4)
    without = tiny.sd_folder(tmp_path / "without", seed=1)
    given = {"quick": True, "rows": ("channels",), "guidance": (1.0,), "runs": tmp_path / "runs"}
    bench = BlindSpotsBench(**given, withheld=without, kind="Objects")
    row = Unseen.row

    def told(self, *rest):
        return row(self, *rest) | {"of": [self.model.fingerprint, self.kind]}

    monkeypatch.setattr(Unseen, "row", told)
    figures = bench(progress="none")
    one = figures["rows"]["channels"]["1"]
    assert one["pairs"] == one["whole"]["pairs"] == 4
    assert one["of"] == [load_model(without).fingerprint, "Objects"]
    assert one["whole"]["of"] == [load_model(tmp_path / "base").fingerprint, "Objects"]
    assert figures["auc_whole_channels_1"] == one["whole"]["auc"][0]
    assert (len(one["against"]), one["whole"]["against"]) == (3, None)
    table = bench.summary(figures)
    assert "Objects: suppressed" in table
    assert "auc of the whole base" in table


def test_blind_spots_found_are_the_suppressed_ones_of_those_that_were_planted():
    row = {"auc": [0.9, 0.8, 1.0], "unseen": 8, "suppressed": 0.75}
    both = figures_of({"channels at 3": {**row, "against": [0.7, 0.6, 0.8], "whole": {"auc": [0.4, 0.3, 0.5]}}}, 1.0)
    assert (both["auc_channels_3"], both["auc_whole_channels_3"]) == (0.9, 0.4)
    assert both["auc_against_whole_channels_3"] == 0.7
    found = figures_of({"dictionary at 3": row, "channels at 3": {**row, "unseen": 99}}, 1.0)
    assert (found["blind_spots_found"], found["blind_spots_planted"]) == (6, 8)
    assert figures_of({"channels at 3": row}, 1.0)["blind_spots_planted"] is None
    assert figures_of({"dictionary at 3": {**row, "suppressed": None}}, 1.0)["blind_spots_found"] == 0
