import math
from dataclasses import replace

import pytest
import tiny
import torch
from audit_scenes import model, nudged, overfitted, pictures

from intaglio.audit.membership.methods.loss_gap import LossGap
from intaglio.audit.membership.methods.pia import PIA
from intaglio.denoising.samples import fixed_samples
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.runs.run import Run

METHODS = [LossGap(levels=3, noises=2), PIA(timesteps=(100, 500)), PIA(timesteps=(300,), normalise=True)]


@pytest.fixture(scope="module")
def base():
    return model()


@pytest.fixture(scope="module")
def suspect(base):
    return nudged(base)


def test_the_loss_gap_is_the_mean_difference_of_errors_at_shared_samples(base, suspect):
    images = pictures(2)
    found = LossGap(levels=3, noises=2)(suspect, base, images, prompt="cat")
    draws = [fixed_samples(3, (4, 8, 8), (1, 999), seed) for seed in (0, 1)]
    with torch.no_grad():
        for i in range(2):
            z = base.encode(images.pixels[i : i + 1])
            gaps = []
            for noise, t in draws:
                for k in range(3):
                    noisy = base.schedule.noised(z, noise[0, k : k + 1], t[0, k : k + 1])
                    errors = [
                        ((one.predict(noisy, t[0, k : k + 1], one.embed(["cat"])) - noise[0, k]) ** 2).mean()
                        for one in (base, suspect)
                    ]
                    gaps.append(float(errors[0] - errors[1]))
            assert found.scores[i] == pytest.approx(sum(gaps) / 6, abs=1e-6)
    torch.testing.assert_close(found.scores, found.signals["suspect"] - found.signals["base"])
    relative = LossGap(levels=3, noises=2, relative=True)(suspect, base, images, prompt="cat")
    torch.testing.assert_close(relative.scores, found.scores / -found.signals["base"])


@pytest.mark.parametrize("normalise", [False, True])
def test_pia_is_the_papers_formula(base, suspect, normalise):
    images = pictures(2)
    found = PIA(timesteps=(200, 500), normalise=normalise)(suspect, base, images, prompt="cat")
    with torch.no_grad():
        for side, one in (("suspect", suspect), ("base", base)):
            for i in range(2):
                z, text = base.encode(images.pixels[i : i + 1]), one.embed(["cat"])
                first = one.predict(z, torch.tensor([0]), text)
                if normalise:
                    first = first * math.sqrt(2 / math.pi) / first.abs().mean()
                scores = []
                for t in (200, 500):
                    abar = float(one.schedule.alphas_cumprod[t])
                    x = math.sqrt(abar) * z + math.sqrt(1 - abar) * first
                    away = first - one.predict(x, torch.tensor([t]), text)
                    scores.append(-(((away.abs() ** 4).sum() ** 0.25) / away.numel() ** 0.25))
                assert found.signals[side][i] == pytest.approx(float(sum(scores)) / 2, rel=1e-4)
    torch.testing.assert_close(found.scores, found.signals["suspect"] - found.signals["base"])
    alone = PIA(timesteps=(200, 500), normalise=normalise, calibrate=False)(suspect, base, images, prompt="cat")
    assert torch.equal(alone.scores, found.signals["suspect"])


def test_the_picture_that_a_suspect_was_overfitted_on_scores_highest():
    """A network that predicts the latents themselves learns one picture of one colour by heart in a few steps."""
    colours = torch.rand(6, 3, 1, 1, generator=torch.Generator().manual_seed(7))
    images = ImageSet.from_pixels(colours.expand(-1, -1, 16, 16).clone())
    base = model(3, "sample")
    suspect = overfitted(base, images[[3]], "cat", 60)
    scores = LossGap(levels=4)(suspect, base, images, prompt="cat").scores
    assert scores.argmax() == 3


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_order_batch_and_micro_batch_do_not_matter(base, suspect, method):
    images = pictures(3)
    found = method(suspect, base, images, prompt="cat")
    assert found.method == method.name
    assert set(found.signals) == set(method.signals)
    turned = method(suspect, base, images[[2, 0, 1]], prompt="cat")
    assert torch.equal(found.scores[[2, 0, 1]], turned.scores)
    pieces = replace(method, micro_batch=1)(suspect, base, images, prompt="cat")
    torch.testing.assert_close(found.scores, pieces.scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS[:2], ids=repr)
def test_known_pictures_are_not_scored_again(base, suspect, method, tmp_path, monkeypatch):
    images = pictures(3)
    about = {"seed": 0, "device": "cpu", "command": ["x"], "progress": "none"}
    whole = method(suspect, base, images, prompt="cat")
    with Run.open(tmp_path, "authenticate", method.name, {}, {}, **about) as run:
        method(suspect, base, images[:2], prompt="cat", run=run)
        assert set(run.recorded(method.name)) == {"0000", "0001"}
        encoded = []
        encode = base.encode
        monkeypatch.setattr(base, "encode", lambda pixels: encoded.append(len(pixels)) or encode(pixels))
        resumed = method(suspect, base, images, prompt="cat", run=run)
        assert encoded == [1]
        assert torch.equal(resumed.scores, whole.scores)
        method(suspect, base, images, prompt="a dog", run=run)
        assert len(encoded) == 4, "another prompt is other work"


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_sdxl_half_precision_and_no_trace(method):
    base = model(0, build=tiny.sdxl_pipeline)
    suspect = nudged(base)
    before = suspect.fingerprint, base.fingerprint
    found = replace(method, precision="bfloat16")(suspect, base, pictures(1), prompt="")
    assert found.scores.isfinite().all()
    assert (suspect.fingerprint, base.fingerprint) == before
    assert all(w.requires_grad and w.grad is None for w in suspect.parts["denoiser"].parameters())


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_timesteps_that_the_model_lacks_are_refused(base, suspect, method):
    with pytest.raises(BadInput, match="timestep 1000 is asked for"):
        replace(method, timesteps=(1, 1000))(suspect, base, pictures(1), prompt="")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (LossGap, {"levels": 0}),
        (LossGap, {"noises": 0}),
        (LossGap, {"micro_batch": 0}),
        (LossGap, {"timesteps": (3, 1)}),
        (PIA, {"timesteps": ()}),
        (PIA, {"timesteps": (0,)}),
        (PIA, {"norm": 0.5}),
        (PIA, {"norm": math.inf}),
        (PIA, {"micro_batch": 0}),
    ],
)
def test_wrong_settings_are_refused_by_name(kind, changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        kind(**changes)
