"""PIA: the paper's formula, with and without the normalised first prediction."""

import math

import pytest
import torch

from audit_scenes import model, nudged, pictures
from intaglio.audit.membership.methods.pia import PIA
from intaglio.runs.run import Run

SMALL = {"batch": 1}
BAD = {"micro_batch": 0}
PIECES = {"micro_batch": 1}


@pytest.fixture(scope="module")
def base():
    return model()


@pytest.fixture(scope="module")
def suspect(base):
    return nudged(base)


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


@pytest.mark.parametrize("changes", [{"timesteps": ()}, {"timesteps": (0,)}, {"norm": 0.5}, {"norm": math.inf}])
def test_wrong_settings_are_refused_by_name(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        PIA(**changes)


@pytest.mark.parametrize("changes", [{"precision": "bfloat16"}, {"norm": 2.0}, {"timesteps": (50,)}])
def test_scores_made_otherwise_are_not_taken_for_its_own(base, suspect, tmp_path, changes):
    about = {"seed": 0, "device": "cpu", "command": ["x"], "progress": "none"}
    with Run.open(tmp_path, "authenticate", "pia", {}, {}, **about) as run:
        PIA()(suspect, base, pictures(2), prompt="cat", run=run)
        found = PIA(**changes)(suspect, base, pictures(2), prompt="cat", run=run)
    assert torch.equal(found.scores, PIA(**changes)(suspect, base, pictures(2), prompt="cat").scores)
