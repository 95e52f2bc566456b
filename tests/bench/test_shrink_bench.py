from types import SimpleNamespace

import pytest
import torch

import tiny
from intaglio.bench.kit.suspects import HARD
from intaglio.bench.shrink import audited, bench, fidelity
from intaglio.bench.shrink.audited import audit_figures
from intaglio.bench.shrink.bench import ShrinkBench
from intaglio.bench.shrink.fidelity import Fidelity
from intaglio.bench.shrink.rounding_curve import RoundingCurve
from intaglio.denoising.samples import fixed_samples
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.report.render import write_report
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import drawn_states
from intaglio.shrink.methods.rtn import RoundToNearest


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(fidelity, "STEPS", 1)
    monkeypatch.setattr("intaglio.shrink.calibration_states.STEPS", 2)
    monkeypatch.setattr(bench, "ROWS", 32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    wide = {"block_out_channels": (32, 32)}
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "m", unet_changes=wide))


def pictures(count):
    return ImageSet.from_pixels(tiny.pixels(count), captions=["dog", "red cat", None][:count] + [None] * (count - 3))


def test_rows_end_to_end_and_the_same_command_measures_nothing_again(model, tmp_path, monkeypatch):
    monkeypatch.setattr(ShrinkBench, "_model", property(lambda self: model))
    monkeypatch.setattr(ShrinkBench, "_captions", property(lambda self: ["dog", "red cat"]))
    monkeypatch.setattr(bench.testbed, "controls_wide", lambda: pictures(4))
    monkeypatch.setattr(bench.testbed, "real_pictures", lambda: pictures(5))
    settings = {"methods": ("rtn", "magnitude"), "prompts": 2, "each": 1, "quick": True, "runs": tmp_path / "runs"}
    figures = ShrinkBench(**settings)(progress="none")
    assert list(figures["rows"]) == ["rtn bits 8", "rtn bits 4", "magnitude sparsity 0.5"]
    eight, four, pruned = figures["rows"].values()
    assert eight["bytes"] > four["bytes"]
    assert eight["error"]["whole"] < four["error"]["whole"] < pruned["error"]["whole"]
    assert eight["on_front"]
    assert four["on_front"]
    assert not pruned["on_front"]
    assert figures["pareto_share"] == {"magnitude": 0.0, "rtn": 1.0}
    assert four["gained_bits"] == pytest.approx(0, abs=1e-6)
    assert figures["w4_best_method"] == "rtn bits 4"
    assert figures["bytes_ratio_w4"] == four["bytes"] / figures["bytes_at_16_bits"]
    assert "audit_auc" not in figures
    assert {name: len(times) for name, times in figures["grid_ms"].items()} == {
        "self_attention": len(figures["grid_sides"]),
        "long_convolution": len(figures["grid_sides"]),
    }
    assert ShrinkBench(**settings)(progress="none") == figures
    assert "* rtn bits 4" in ShrinkBench(**settings).summary(figures)
    (folder,) = (tmp_path / "runs").iterdir()
    page = write_report(folder).read_text()
    assert "2 of 3 rows on the front" in page
    assert page.count('class="dot in"') == 2


def test_a_model_is_as_like_itself_as_can_be_and_less_so_the_fewer_bits_it_has(model):
    rows = drawn_states(model, ["dog", "cat"], 32)
    judge = Fidelity(model, rows, pictures(3), pictures(3), ["dog", "cat"], 1, 0)
    same = judge.figures(model)
    assert same["error"]["whole"] == same["distance"]["mean"] == same["loss_unseen"]["rise"]["mean"] == 0
    assert (same["psnr"], same["ssim"]) == (99.0, pytest.approx(1.0))
    assert same["kid"]["mean"] == pytest.approx(judge.floor)
    found = [judge.figures(RoundToNearest(bits=bits)(model).model) for bits in (4, 2)]
    assert 0 < found[0]["error"]["whole"] < found[1]["error"]["whole"]
    assert found[0]["psnr"] > found[1]["psnr"]
    assert found[0]["distance"]["low"] > 0


def test_the_loss_of_pictures_is_the_mean_over_the_same_noises(model):
    rows, two = drawn_states(model, ["dog"], 32), pictures(3)[:2]
    judge = Fidelity(model, rows, two, two, ["dog"], 1, seed=5, batch=1)
    noises, times = fixed_samples(4, (4, 8, 8), (0, 999), 5)
    for k, found in enumerate(judge._errors(model, two).tolist()):
        with torch.no_grad():
            latents = model.encode(two.pixels[k : k + 1])
            noised = model.schedule.noised(latents.expand(4, -1, -1, -1), noises[0], times[0])
            output = model.predict(noised, times[0], model.embed([two.captions[k] or ""]))
        assert found == pytest.approx(float((output - noises[0]).square().mean()), rel=1e-3)


def test_bits_of_plain_rounding_lie_between_its_points_by_the_logarithm():
    curve = RoundingCurve(((2.0, 0.4), (4.0, 0.1), (8.0, 0.001)))
    assert curve.bits(0.2) == pytest.approx(3.0)  # halfway from 0.4 to 0.1 by factors of 2
    assert curve.bits(0.01) == pytest.approx(6.0)
    assert (curve.bits(0.5), curve.bits(0.0005)) == (None, None)
    assert curve.gained({"error": {"whole": 0.2}, "bits": 2.25}) == pytest.approx(0.75)


def test_audits_ask_full_and_smaller_suspects_against_both_bases(model, tmp_path, monkeypatch):
    """A score that counts the bits of suspect and base, a member's one higher while the suspect is full."""
    asked = []

    def audit(suspect, base, pictures, prompt):
        known = [one.packing["denoiser"].bits if one.packing else 32 for one in (suspect, base)]
        asked.append(tuple(round(bits) for bits in known))
        scores = torch.arange(len(pictures), dtype=torch.float64) % (len(pictures) // 2)
        if known[0] == 32:
            scores[: len(pictures) // 2] += 100
        return SimpleNamespace(scores=scores)

    monkeypatch.setattr(audited, "fine_tuned", lambda base, *rest: base.copy())
    monkeypatch.setattr(audited, "default_method", lambda verb, name, seed: audit)
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    with Run.open(tmp_path, "bench", "shrink", {}, {}, **about) as run:
        options = {"audits": ("loss-gap",), "ways": ("rtn 4",), "pictures": 3, "seed": 0, "run": run}
        found = audit_figures(model, HARD, testbed.sets()[:1], **options)["loss-gap"]
    assert asked == [(32, 32), (4, 32), (4, 4)]
    assert found["full"]["value"] == 1.0
    assert found["rtn 4"]["value"] == found["rtn 4, base too"]["value"] == 0.5
    assert found["rtn 4"]["change"]["value"] == -0.5


@pytest.mark.parametrize("wrong", [{"prompts": 1}, {"each": 0}, {"sets": 0}, {"audits": ("x",)}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ShrinkBench(**wrong)
