import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import explain_scenes
import tiny
from intaglio.errors import BadInput
from intaglio.explain.repairs.methods.last_layer import LastLayer
from intaglio.explain.repairs.shortcut_pictures import ShortcutPictures
from intaglio.runs.run import Run

SMALL = {"strength": 0.5, "batch": 16}
BAD = {"strength": 0.0}
PIECES = {"batch": 5}


def test_the_head_is_that_of_pictures_repeated_until_all_cells_are_equal():
    scored = explain_scenes.untrained()
    truth = np.array([0] * 8 + [1] * 6 + [2] * 4)
    values = np.array([0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1])
    pixels = tiny.pixels(18, seed=3)[..., :16, :16]
    method = LastLayer(strength=0.3)
    found = method.changed(scored, 0, ShortcutPictures(pixels, truth, values, 3), Run.none(), "")
    rows = scored.features(pixels).double().numpy()
    scaled = (rows - rows.mean(0)) / np.where(rows.std(0) > 0, rows.std(0), 1)
    times = [6 // ((truth == a) & (values == b)).sum() for a, b in zip(truth, values, strict=True)]
    many, labels = np.repeat(scaled, times, 0), np.repeat(truth, times)
    head = LogisticRegression(C=0.3 * len(rows) / len(many), max_iter=5000, tol=1e-8).fit(many, labels)
    expected = head.predict_log_proba(scaled)
    got = found.network.logits(pixels, "kind").log_softmax(1).double().numpy()
    np.testing.assert_allclose(got, expected, atol=2e-3)
    # the layers below are those that were given
    torch.testing.assert_close(found.network.features(pixels), scored.features(pixels), rtol=0, atol=0)


def test_a_planted_shortcut_gets_no_weight():
    found = LastLayer(strength=10.0)(explain_scenes.marked_chain(), *explain_scenes.marked_reds())
    red, green, blue = (found.network.heads["kind"].weight[0] - found.network.heads["kind"].weight[1]).tolist()
    assert red > 5 * max(abs(green), abs(blue))
    assert found.result.worst == (0.0, 1.0)


def test_a_class_without_pictures_is_told():
    scored = explain_scenes.untrained()
    images, _, green = explain_scenes.marked_reds()
    with pytest.raises(BadInput, match="needs pictures of every class of the head kind, two or more, and of place"):
        LastLayer()(scored, images, ["animal", "food"] * 48, green)
