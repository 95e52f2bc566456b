"""The bench of attributions end to end on a tiny model, what its sources share, and its figures by hand."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tiny
from intaglio.audit.attribution.family import JudgedPictures, SourceAttributor
from intaglio.bench.attribution import bench as room
from intaglio.bench.attribution import figures, source_scene
from intaglio.bench.attribution.bench import PLACED, AttributionBench
from intaglio.bench.attribution.figures import (
    calibration_error,
    condition_figures,
    kept_from,
    margins_of,
    open_set_rate,
)
from intaglio.bench.attribution.fitted_row import DrawnSources, verification_areas
from intaglio.bench.attribution.source_scene import KNOWN, UNKNOWN, SourceScene
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.loading import load_model
from intaglio.randomness import seed_32bit


def test_the_open_set_rate_is_the_area_under_the_curve_of_thresholds():
    drawn = np.random.default_rng(0)
    known, unknown = drawn.integers(0, 8, 40).astype(float), drawn.integers(-3, 5, 30).astype(float)
    right = (drawn.random(40) < 0.7).astype(float)
    bars = np.unique([*known, *unknown])[::-1]
    told = np.array([0.0, *((right * (known >= bar)).mean() for bar in bars)])
    false = np.array([0.0, *((unknown >= bar).mean() for bar in bars)])
    assert open_set_rate(right, known, unknown) == pytest.approx(np.trapezoid(told, false))
    assert open_set_rate(np.ones(2), np.array([2.0, 3.0]), np.array([0.0])) == 1.0, "all right, all above"


def test_a_threshold_keeps_the_share_and_no_more_than_it_must():
    known = np.arange(40.0)
    assert kept_from(known) == 2.0, "38 of 40 are 95%"
    assert (known >= kept_from(known)).mean() == 0.95
    assert kept_from(np.arange(10.0)) == 0.0, "nine of ten would be too few"


def test_the_calibration_error_is_of_means_in_bins():
    confidence, right = np.array([0.99, 0.97, 0.5, 0.52]), np.array([1.0, 0.0, 1.0, 1.0])
    assert calibration_error(confidence, right) == pytest.approx((0.98 - 0.5) / 2 + (1 - 0.51) / 2)
    assert calibration_error(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0.0, "one lies in the last bin"


def numbers(likeliest, verdict, knownness):
    return {"likeliest": likeliest, "verdict": verdict, "knownness": knownness, "confidence": [1.0] * len(likeliest)}


def test_figures_count_each_source_alike_and_none_of_the_unknown_as_known(monkeypatch):
    monkeypatch.setattr(figures, "KNOWN", ("a", "b"))
    monkeypatch.setattr(figures, "UNKNOWN", {"c": "data", "d": "seed"})
    told = {
        "a": numbers([0, 0, 0, 1], [0, -1, -2, 1], [3.0, 3.0, 3.0, 3.0]),
        "b": numbers([0, 1], [0, 1], [3.0, 3.0]),
        "c": numbers([0, 0], [-1, 1], [1.0, 4.0]),
        "d": numbers([1], [-2], [0.0]),
    }
    found = condition_figures(told)
    assert found["accuracy"] == (0.75 + 0.5) / 2
    assert found["false_attribution"] == pytest.approx(2 / 6)
    assert found["attributed"] == pytest.approx(2 / 6)
    assert found["unknown"]["data"]["attributed"] == 0.5
    assert found["unknown"]["data"]["auroc"] == 0.5
    assert found["unknown"]["data"]["fpr95"] == 0.5
    assert found["unknown"]["data"]["oscr"] == pytest.approx(0.5 * 4 / 6)
    assert found["unknown"]["seed"]["auroc"] == 1.0
    assert found["auroc"] == pytest.approx(2 / 3)
    worse = {**told, "a": numbers([1] * 4, [1] * 4, [0.5] * 4)}
    gain = margins_of(told, worse)
    assert gain["accuracy"] == 0.5
    assert gain["auroc"] == pytest.approx(2 / 3 - (4 / 3 + 2 * 2 / 3) / 6)
    assert gain["accuracy_interval"][0] > 0


def test_pairs_are_of_known_sources_or_with_an_unknown_one_and_never_of_a_picture_and_itself():
    known, unknown = KNOWN[:2], next(iter(UNKNOWN))
    names = [known[0], known[0], known[1], unknown, unknown]
    angles = torch.tensor([0.0, 0.1, 0.05, 2.0, 2.5])
    found = verification_areas(torch.stack([angles.cos(), angles.sin()], 1) * torch.rand(5, 1), names)
    assert found == {"known": 0.0, "unknown": 1.0}, "0.1 apart against 0.05 twice; then 0.5 against 1.9 and more"


@pytest.fixture
def base(tmp_path):
    return load_model(tiny.sd_folder(tmp_path / "base"))


@pytest.fixture
def scene(base, monkeypatch):
    def pictures(seed, count):
        return ImageSet.from_pixels(tiny.pixels(count, seed), captions=[f"cat {k}" for k in range(count)])

    testbed = SimpleNamespace(
        real_pictures=lambda: pictures(1, 14),
        controls_wide=lambda: pictures(2, 12),
        few_shot=lambda name: SimpleNamespace(members=pictures(3, 2)),
    )
    monkeypatch.setattr(source_scene, "testbed", testbed)
    monkeypatch.setattr(source_scene, "load_model", lambda name, device: base)
    monkeypatch.setattr(source_scene, "open_flow", lambda name, device: SimpleNamespace(model=tiny.flow(double=False)))
    return SourceScene(base, each=10, tuned=1, decoded=1, steps=2, seed=0)


def test_sources_share_captions_that_teach_and_neither_noise_nor_captions_that_test(scene):
    taught = set(scene.prompts("base-ddim")[: scene.taught])
    assert scene.taught == len(taught) == 7
    for name in (*KNOWN, *UNKNOWN):
        tests = scene.prompts(name)[scene.taught :] if name in KNOWN else scene.prompts(name)
        assert not taught & set(tests)
        assert len(scene.prompts(name)) == scene.each
    seeds = [seed for name in (*KNOWN, *UNKNOWN) for seed in scene._seeds(name)]
    assert len(set(seeds)) == len(seeds)


def test_every_source_gives_pictures_of_8_bits_and_one_size_and_decoders_see_none_of_them(scene, monkeypatch):
    tuned, decoded = [], []
    monkeypatch.setattr(SourceScene, "with_lora", lambda self, subject: tuned.append(subject) or self.base)
    monkeypatch.setattr(source_scene, "picture_distance", lambda one, other: decoded.append(other) or one.mean())
    drawn = {name: scene.pictures(name) for name in (*KNOWN, *UNKNOWN)}
    for name, pixels in drawn.items():
        assert pixels.shape == (10, 3, 16, 16), name
        assert torch.equal((pixels * 255).round() / 255, pixels), name
    assert len(set(tuned)) == 3
    aside = scene.real.pixels[scene.each :]
    assert len(decoded) == 2
    assert all(any(torch.equal(one, other) for other in aside) for batch in decoded for one in batch)
    assert torch.equal(drawn["real"], scene.real.pixels[:10].mul(255).round() / 255)
    assert not torch.equal(drawn["decoder-tuned"], drawn["decoder-other-seed"])
    assert not torch.equal(drawn["real-decoded"], drawn["real"])


def test_methods_are_given_known_sources_alone_and_changes_are_of_each_picture(monkeypatch):
    levels = {
        name: torch.randint(256, (6, 3, 16, 16), generator=torch.Generator().manual_seed(k), dtype=torch.uint8)
        for k, name in enumerate((*KNOWN, *UNKNOWN))
    }
    drawn = DrawnSources(levels, {name: [f"cat {k}" for k in range(6)] for name in PLACED}, 4, 0)
    given, tests, changed = drawn.given(), drawn.tests("plain"), drawn.tests("post-processed")
    assert tuple(given) == KNOWN
    assert given["real"].captions == ("cat 0", "cat 1", "cat 2", "cat 3")
    assert given["flow-small"].captions == (None,) * 4
    assert not {one for images in given.values() for one in images.hashes} & {*tests.hashes}
    assert len(tests) == 2 * len(KNOWN) + 6 * len(UNKNOWN)
    assert tests.names == changed.names
    assert all(a != b for a, b in zip(tests.hashes, changed.hashes, strict=True))
    assert drawn.tests("post-processed").hashes == changed.hashes


@dataclass(frozen=True, kw_only=True)
class Contrast(SourceAttributor):
    """Sources by the logarithm of the contrast of their pictures."""

    reading = "how far pixels lie from grey"

    def learn(self, sources, models, run):
        told = contrast(sources.images.pixels)
        return {"means": torch.stack([told[sources.labels == k].mean() for k in range(len(sources.names))])}

    def judge(self, learnt, pixels, models):
        apart = -50 * (contrast(pixels)[:, None] - learnt["means"]).abs()
        return JudgedPictures(torch.log_softmax(apart, 1), apart.amax(1))

    def features(self, learnt, pixels, models):
        return torch.stack([contrast(pixels), torch.ones(len(pixels))], 1)


def contrast(pixels):
    return (pixels - 0.5).square().mean((1, 2, 3)).log()


def test_the_bench_goes_on_where_it_was_stopped_and_draws_no_source_twice(base, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "load_model", lambda path, device: base)
    monkeypatch.setattr(AttributionBench, "_counts", {"each": 10, "tuned": 1, "decoded": 1, "steps": 1})
    monkeypatch.setattr(AttributionBench, "_methods", {"contrast": Contrast()})
    monkeypatch.setattr(figures, "DRAWS", 2)
    asked = []

    def pictures(self, name):
        if len(asked) == 4:
            asked.append("stopped")
            raise KeyboardInterrupt
        asked.append(name)
        place = (*KNOWN, *UNKNOWN).index(name)
        noise = torch.rand(10, 3, 16, 16, generator=torch.Generator().manual_seed(seed_32bit(0, name)))
        return (0.5 + (noise - 0.5) * 0.9 ** (3 * place)).clamp(0, 1)

    monkeypatch.setattr(SourceScene, "pictures", pictures)
    small = AttributionBench(quick=True, runs=tmp_path / "runs", workers=1)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert [name for name in asked if name != "stopped"] == [*KNOWN, *UNKNOWN]
    assert found["verification_contrast_known"] > 0.9
    row = found["rows"]["contrast"]["conditions"]
    assert row["plain"]["accuracy"] > 0.8
    assert row["post-processed"]["accuracy"] < row["plain"]["accuracy"]
    assert sorted(row["plain"]["unknown"]) == ["architecture", "data", "sampler", "seed"]
    assert json.dumps(found)
    assert small(progress="none") == found
    assert small.summary(found).count("\n") == 2 + 2 + 2 * 4


def test_bad_input_is_told():
    with pytest.raises(BadInput, match="no row 'x'; choose from: cnn"):
        AttributionBench(rows=("x",))
    with pytest.raises(ValueError, match="seed must be"):
        AttributionBench(seed=-1)
