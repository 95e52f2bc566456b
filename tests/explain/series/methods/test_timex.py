from dataclasses import replace

import numpy as np
import pytest
import torch

from intaglio.explain.series.methods import timex
from intaglio.explain.series.methods.timex import TimeX, drawn_mask
from intaglio.runs.run import Run
from series_scenes import LONGER, check_the_point_comes_first, small
from series_scenes import SMALL as SCENE

SMALL = {"width": 16, "updates": 12, "rows": 64, "draws": 1, "batch": 64, "learning_rate": 0.01, "mask_updates": 2}
BAD = {"share": 0.0}
PIECES = {"batch": 3}


def test_the_point_that_tells_the_class_comes_first_and_landmarks_are_of_one_class():
    found = check_the_point_comes_first(TimeX(**LONGER, mask_updates=120))
    assert found.landmarks is not None
    assert found.landmarks.purity(found.truth) > 0.9
    assert found.landmarks.purity_by_chance(found.truth) < 0.8


def test_masks_are_binary_draws_with_the_gradient_of_the_relaxed_ones():
    logits = torch.full((40_000, 1, 1), 0.8).requires_grad_()
    mask = drawn_mask(logits, 1.0, torch.Generator().manual_seed(0))
    assert set(mask.detach().round(decimals=5).flatten().tolist()) == {0.0, 1.0}
    assert float(mask.detach().mean()) == pytest.approx(1 / (1 + np.exp(-0.8)), abs=0.01)
    mask.sum().backward()
    uniform = torch.rand(logits.shape, generator=torch.Generator().manual_seed(0)).clamp(1e-6, 1 - 1e-6)
    soft = (0.8 + torch.logit(uniform)).sigmoid()
    torch.testing.assert_close(logits.grad, soft * (1 - soft))


def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    series, method = small(40, 5.0), TimeX(**{**SCENE, "updates": 20, "learning_rate": 0.01}, mask_updates=6)
    whole = method(series)
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    real, calls = timex.embedding_gap, []

    def stopping(*given):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(timex, "embedding_gap", stopping)
    monkeypatch.setattr("intaglio.explain.series.taught_series.SAVED_S", 0.0)
    with pytest.raises(KeyboardInterrupt), Run.open(tmp_path, "explain", "series", {}, {}, **about) as run:
        method(series, run=run)
    with Run.open(tmp_path, "explain", "series", {}, {}, **about) as run:
        found = method(series, run=run)
    assert torch.equal(found.importances, whole.importances)
    assert (found.landmarks.places == whole.landmarks.places).all()
    assert (found.landmarks.cosines == whole.landmarks.cosines).all()
    assert len(calls) < 4 + 6  # of six steps some were kept
    without = replace(method, landmarks=0)(series)
    assert torch.equal(without.importances, whole.importances)
    assert without.landmarks is None


@pytest.mark.parametrize("given", [{"share": 0.0}, {"temperature": 0.0}, {"landmarks": 1}, {"size_weight": -1.0}])
def test_settings_out_of_range_are_refused(given):
    (name,) = given
    with pytest.raises(ValueError, match=name):
        TimeX(**given)
