"""The loss gap: its formula, a planted member, and the records of a killed call."""

import pytest
import torch

from audit_scenes import model, nudged, pictures, planted
from intaglio.audit.membership.methods.loss_gap import LossGap
from intaglio.denoising.samples import fixed_samples
from intaglio.runs.run import Run

SMALL = {"levels": 4}
BAD = {"levels": 0}
PIECES = {"micro_batch": 1}


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


@pytest.fixture(scope="module")
def scene():
    return planted()


def test_the_picture_that_a_suspect_was_overfitted_on_scores_highest(scene):
    suspect, base, images, member = scene
    assert LossGap(levels=4)(suspect, base, images, prompt="cat").scores.argmax() == member


def test_known_pictures_are_not_scored_again(base, suspect, tmp_path, monkeypatch):
    method, images = LossGap(levels=3, noises=2), pictures(3)
    about = {"seed": 0, "device": "cpu", "command": ["x"], "progress": "none"}
    whole = method(suspect, base, images, prompt="cat")
    with Run.open(tmp_path, "authenticate", method.name, {}, {}, **about) as run:
        method(suspect, base, images[:2], prompt="cat", run=run)
        assert set(run.recorded(method.name)) == {"0000", "0001"}
        encoded = []
        encode = base.encode
        monkeypatch.setattr(base, "encode", lambda pixels, *more: encoded.append(len(pixels)) or encode(pixels, *more))
        resumed = method(suspect, base, images, prompt="cat", run=run)
        assert encoded == [1]
        assert torch.equal(resumed.scores, whole.scores)
        method(suspect, base, images, prompt="a dog", run=run)
        assert len(encoded) == 4, "another prompt is other work"


@pytest.mark.parametrize("changes", [{"levels": 0}, {"noises": 0}, {"micro_batch": 0}, {"timesteps": (3, 1)}])
def test_wrong_settings_are_refused_by_name(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        LossGap(**changes)
