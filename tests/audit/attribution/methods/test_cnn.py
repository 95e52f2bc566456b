import math

import pytest
import torch
from scipy.stats import norm

from attribution_scenes import SIGMA, tiled
from intaglio.audit.attribution.methods.cnn import SourceCNN
from intaglio.audit.attribution.picture_sources import PictureSources
from intaglio.audit.attribution.source_network import (
    batch_of,
    epoch_steps,
    feature_statistics,
    knownness_of,
    network_input,
    new_network,
    source_weights,
)
from intaglio.runs.run import Run

SMALL = {"epochs": 2, "rows": 6, "batch": 3, "widths": (4, 6)}
BAD = {"processed": 1.5}
PIECES = {"batch": 1}
VARIANTS = {
    "mahalanobis": {"SMALL": {"knownness": "mahalanobis", "input": "residual"}, "BAD": {"rows": 1}, "PIECES": {}}
}


def test_the_accuracy_is_near_the_best_that_there_is_for_planted_patterns():
    """White noise of deviation s about F_1 or F_2: no rule is right more often than Phi(|F_1 - F_2| / 2 s)."""
    size, side = 1 / 255, 8
    gap = (tiled(0, 1, side, size=size, noise=0.0).pixels - tiled(1, 1, side, size=size, noise=0.0).pixels).norm()
    best = norm.cdf(float(gap) / (2 * SIGMA))
    sources = {"one": tiled(0, 800, side, size=size), "two": tiled(1, 800, side, size=size)}
    method = SourceCNN(epochs=5, rows=96, widths=(32, 32), learning_rate=1e-2, processed=0.0)
    taught = PictureSources.of(sources)
    learnt, right = method.learn(taught, {}, Run.none()), []
    for k in (0, 1):
        judged = method.judge(learnt, tiled(k, 400, side, size=size, seed=1).pixels, {})
        right.append(judged.log_posterior.argmax(1) == k)
    accuracy = float(torch.cat(right).double().mean())
    assert accuracy >= 0.5 + 0.9 * (best - 0.5)
    assert accuracy <= best + 3 * math.sqrt(best * (1 - best) / 800)


def test_every_source_counts_alike_in_the_loss():
    labels = torch.tensor([0] * 3 + [1] * 9)
    weights = source_weights(labels, 2)
    assert float(weights[labels][labels == 0].sum()) == pytest.approx(float(weights[labels][labels == 1].sum()))
    assert float(weights[labels].mean()) == pytest.approx(1)


def test_an_epoch_shows_every_picture_once_in_a_drawn_order():
    order = [3, 1, 0, 2, 4, 8, 7, 5, 6]
    assert (epoch_steps(9, 4), epoch_steps(9, 3), epoch_steps(1, 4)) == (2, 3, 1)
    shown = [[i for step in range(start, start + 3) for i in batch_of(order, 3, step, 0)] for start in (0, 3)]
    assert [sorted(one) for one in shown] == [list(range(9))] * 2
    assert shown[0] != shown[1]
    assert [order.index(i) for i in shown[0]] == [i for step in range(3) for i in batch_of(range(9), 3, step, 0)]


def test_the_four_measures_of_knownness():
    logits, features = torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    energy = [math.log(math.e + math.e**3), math.log(2)]
    torch.testing.assert_close(knownness_of(logits, features, {}, "energy"), torch.tensor(energy))
    assert knownness_of(logits, features, {}, "max-logit").tolist() == [3, 0]
    learnt = {
        "centres": torch.tensor([[1.0, 1.0], [5.0, 0.0]]).double(),
        "precision": torch.tensor([[2.0, 0.0], [0.0, 3.0]]).double(),
    }
    assert knownness_of(logits, features, learnt, "mahalanobis").tolist() == [-3, -2 - 3]
    around = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0], [0.6, -0.8], [0.0, -1.0]])
    gaps = (torch.tensor([[1.0, 0.0], [0.0, 1.0]])[:, None] - around).norm(dim=2).sort(1).values[:, 4]
    torch.testing.assert_close(knownness_of(logits, features, {"features": around}, "neighbours"), -gaps)


def test_statistics_of_features_are_those_of_the_pictures_that_taught():
    network, pixels = new_network(("a", "b"), (4, 3), 0).eval(), torch.rand(12, 3, 16, 16)
    labels = torch.tensor([0, 1] * 6)
    found = feature_statistics(network, pixels.split(5), labels, "mahalanobis")
    features = network.features(pixels).double().detach()
    torch.testing.assert_close(found["centres"], torch.stack([features[0::2].mean(0), features[1::2].mean(0)]))
    assert torch.linalg.eigvalsh(found["precision"]).min() > 0
    assert feature_statistics(network, pixels.split(5), labels, "energy") == {}


def test_the_residual_hides_flat_content():
    flat = torch.ones(1, 3, 8, 8) * torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1)
    assert torch.equal(network_input(flat, "residual"), torch.ones(1, 3, 8, 8))
    flat[0, 0, 4, 4] += 1 / 255
    assert network_input(flat, "residual")[0, 0, 4, 4] == pytest.approx(1 - 16 / 255, abs=1e-5)
