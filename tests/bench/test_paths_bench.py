"""The bench of edges between filters: its figures by hand, and its rows end to end."""

import json

import numpy as np
import pytest
import torch

from explain_scenes import SIDE
from intaglio.bench.kit.marked_pictures import CorneredPictures, taught_classifier, with_mark
from intaglio.bench.paths import bench
from intaglio.bench.paths.bench import PathsBench, by_cell, figures_of
from intaglio.explain.repairs.methods.cut_edges import CutEdges
from intaglio.explain.repairs.methods.last_layer import LastLayer
from intaglio.explain.slices.balanced_weights import TaughtPictures
from intaglio.images.image_set import ImageSet
from intaglio.models.scored_network import classifier_score


def planted(seed):
    """A classifier that learned the corner alone, asked about pictures of which a third have it wrongly."""
    source = np.random.default_rng(seed)
    codes = np.arange(90) % 2
    pixels = torch.ones(90, 3, SIDE, SIDE) - 0.3 * torch.from_numpy(source.random((90, 3, SIDE, SIDE))).float()
    net = taught_classifier(with_mark(pixels, codes == 0), torch.from_numpy(codes), 4, seed)
    astray = source.random(90) < 1 / 3
    images = ImageSet.from_pixels(with_mark(pixels, (codes == 0) != astray))
    scored = classifier_score(net, "artist", side=SIDE)
    truth = tuple(scored.classes[k] for k in codes)
    taught = TaughtPictures(images, truth)
    return CorneredPictures(scored, images, truth, astray, taught, np.zeros(90, np.int64), pixels[:20], codes[:20], 1)


def test_cells_where_class_and_corner_agree():
    cells = {("noto", False): 0.1, ("noto", True): 0.9, ("another artist", False): 0.7, ("another artist", True): 0.3}
    assert by_cell(cells) == pytest.approx({"worst": 0.1, "mean": 0.5, "kept": 0.8})


def test_figures_by_hand():
    row = {"mean": 0.5, "kept": 0.6, "gap": 0.1, "cut": 0.02, "seconds": 1.0}
    names = ("cut-edges", "last-layer")
    trainings = [
        {
            "before": {"worst": 0.1 * k, "mean": 0.5, "kept": 0.9},
            "rows": {name: {**row, "worst": 0.4 + 0.2 * k} for name in names},
            "graphs": {"interventions": {"overlap": 0.5 + k / 10}},
        }
        for k in range(2)
    ]
    found = figures_of(trainings, 1.0)
    assert (found["worst"], found["worst_before"], found["overlap"]) == pytest.approx((0.5, 0.05, 0.55))
    half = 12.7062047 * 0.05  # t of one degree of freedom at 97.5%, of gains 0.4 and 0.5
    assert found["rows"]["last-layer"]["gain"] == pytest.approx([0.45 - half, 0.45 + half])


def test_rows_end_to_end_and_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    asked = []

    def stopping(seed):
        asked.append(seed)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return planted(seed)

    monkeypatch.setattr(bench, "marked_pictures", stopping)
    monkeypatch.setattr(bench, "SCREENED", 2)
    small = PathsBench(trainings=2, runs=tmp_path)
    monkeypatch.setattr(
        PathsBench, "_repairs", lambda self: {"cut-edges": CutEdges(screened=4), "last-layer": LastLayer()}
    )
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert asked == [0, 1, 1]
    assert json.loads(json.dumps(found)) == found
    assert found["worst_before"] < 0.5
    assert found["rows"]["last-layer"]["worst"] >= found["worst_before"]
    assert "class graph" in small.summary(found)
