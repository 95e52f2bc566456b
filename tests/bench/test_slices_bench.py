"""The bench of slices: its marks, its figures by hand, and its rows end to end."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from intaglio.bench.kit.marked_pictures import taught_classifier, with_mark
from intaglio.bench.slices import bench
from intaglio.bench.slices.bench import SlicesBench, figures_of, precision
from intaglio.explain.slices.result import ErrorSlices, FoundGroup
from marked_scenes import planted


def group(pictures):
    texts = ("noto",) * len(pictures)
    counts = {"inside": 1, "errors_inside": 1, "errors_outside": 0, "outside": 1, "p": 0.5, "q": 0.5, "passes": False}
    return FoundGroup(told="x", **counts, pictures=tuple(pictures), truth=texts, called=texts)


def test_precision_is_that_of_the_best_slice_for_each_group():
    groups = (group(["a", "b", "c", *"ghijklmno"]), group(["c", "d", "e", "f", *"pqrstu", "x"]))
    about = {"method": "m", "reading": "r", "head": "h", "pictures": 6, "tested": 3, "wrong": 2, "masked": True}
    found = ErrorSlices(**about, rate=0.05, groups=groups)
    assert precision(found, [{"a", "b", "c"}, {"f", "x"}]) == pytest.approx((0.3 + 0.1) / 2)


def test_the_mark_is_red_and_in_the_corner_of_the_chosen_alone():
    found = with_mark(torch.ones(2, 3, 16, 16), np.array([False, True]))
    assert bool((found[0] == 1).all())
    assert found[1, :, 5, 5].tolist() == pytest.approx([0.9, 0.1, 0.1])
    assert found[1, :, 6, 5].tolist() == [1, 1, 1]


def test_figures_by_hand():
    trainings = {
        str(k): {"rows": {"domino, own": {"precision": p, "holds": 1.0, "seconds": 1.0, "worst": p / 2}}}
        | {"wrong_planted": 0.5, "wrong_others": 0.1, "worst_before": 0.1, "worst_planted": 0.5}
        for k, p in enumerate((0.4, 0.8))
    }
    found = figures_of(trainings, 1.0)
    assert found["precision_domino_own"] == pytest.approx(0.6)
    assert found["rows"]["domino, own"]["spread"] == pytest.approx(0.4 / 2**0.5)
    assert found["worst_domino_own"] == pytest.approx(0.3)
    gains, half = np.array([0.1, 0.3]), 12.7062047 * 0.1  # t of one degree of freedom at 97.5%
    assert found["rows"]["domino, own"]["gain"] == pytest.approx([gains.mean() - half, gains.mean() + half])
    assert (found["worst_before"], found["worst_planted"]) == (0.1, 0.5)


def test_the_worst_group_is_over_classes_with_the_mark_and_without():
    scene = planted(0)
    net = taught_classifier(scene.taught.images.pixels, torch.from_numpy(np.arange(90) % 2), 4, 0)
    shares = []
    for pixels in (scene.judged, with_mark(scene.judged, np.full(20, True))):
        right = net(pixels)["artist"].argmax(1).numpy() == scene.codes
        shares += [right[scene.codes == 0].mean(), right[scene.codes == 1].mean()]
    assert scene.worst(net) == pytest.approx(min(shares))
    assert max(shares) - min(shares) > 0.5


def test_weights_draw_what_a_classifier_learns_from():
    scene = replace(planted(0), epochs=15)
    marked = with_mark(scene.judged, np.full(20, True))
    alone = scene.retaught(np.arange(90) % 2 * 1.0, 0)  # of the class without a mark
    both = scene.retaught(np.ones(90), 0)
    assert (
        float(both(marked)["artist"].softmax(1)[:, 0].min())
        > 0.9
        > 0.5
        > float(alone(marked)["artist"].softmax(1)[:, 0].max())
    )


def test_rows_end_to_end_and_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    asked = []

    def stopping(seed):
        asked.append(seed)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return planted(seed)

    monkeypatch.setattr(bench, "marked_pictures", stopping)
    small = SlicesBench(trainings=2, runs=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert asked == [0, 1, 1]
    assert json.loads(json.dumps(found)) == found
    assert found["wrong_planted"] > found["wrong_others"]
    assert "caption-keywords" in found["rows"]
    assert "domino, masked, own" in small.summary(found)
