import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from attribution_scenes import tiled
from intaglio.audit.attribution.methods.pose import POSE
from intaglio.audit.attribution.picture_sources import PictureSources
from intaglio.audit.attribution.simulated_sources import (
    SHAPES,
    changed_by,
    fresh_net,
    net_loss,
    packed_net,
    triplet_loss,
    unpacked_net,
)
from intaglio.audit.attribution.source_network import cosine_transform, new_network, renormalised
from intaglio.runs.run import Run

SMALL = {"epochs": 2, "rows": 4, "batch": 4, "widths": (4, 6)}
BAD = {"temperature": 0.0}
PIECES = {}


def net_of_centres(first, second):
    """A net that mixes channels and leaves neighbours out."""
    net = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    net["first"][: len(first), :, 1, 1], net["second"][:, : len(first), 1, 1] = first, second
    return net


def test_the_loss_of_a_net_by_hand_and_none_for_the_identity():
    pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    same = net_of_centres(torch.eye(3), torch.eye(3))
    features = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert torch.equal(changed_by(same, pixels), pixels)
    assert float(net_loss(pixels, changed_by(same, pixels), features, features, None)) == 0
    half = changed_by(net_of_centres(torch.eye(3), 0.5 * torch.eye(3)), pixels)
    moved, earlier = torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    cosine = (math.sqrt(0.5) + 1) / 2
    expected = float(pixels.square().mean()) / 4 + 1e-2 * (1 - cosine) + 1e-4 * math.sqrt(0.5)
    assert float(net_loss(pixels, half, features, moved, earlier)) == pytest.approx(expected)
    still = float(net_loss(pixels, pixels, features, features, earlier))
    assert still == pytest.approx(1e-2 * 0.05 + 1e-4 * math.sqrt(0.5) / 2), "nearer than 0.05 gains nothing"


def test_triplets_take_the_farthest_own_and_the_nearest_other():
    features, labels = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 0, 1, 1, 1, 2])
    rows, total = (features / features.norm(dim=1, keepdim=True)).numpy(), 0.0
    for i in range(6):
        gaps = np.linalg.norm(rows - rows[i], axis=1)
        own = labels.numpy() == int(labels[i])
        total += max(0.0, gaps[own].max() - gaps[~own].min() + 0.3)
    assert float(triplet_loss(features, labels)) == pytest.approx(total / 6, rel=1e-4)


def test_the_transform_is_the_unitary_cosine_transform():
    pixels = torch.rand(2, 3, 6, 10, generator=torch.Generator().manual_seed(0))
    by_scipy = dctn(pixels.numpy(), axes=(2, 3), norm="ortho")
    torch.testing.assert_close(cosine_transform(pixels), torch.from_numpy(by_scipy), rtol=1e-4, atol=1e-5)


def test_nets_are_drawn_anew_each_epoch_and_come_back_from_a_row():
    one, same, other = (fresh_net(0, number) for number in (0, 0, 1))
    for name, shape in SHAPES.items():
        assert one[name].shape == shape
        assert torch.equal(unpacked_net(packed_net(one))[name], one[name])
        assert torch.equal(one[name], same[name])
        assert not torch.equal(one[name], other[name])


def test_statistics_of_normalisation_are_means_over_the_parts():
    network, parts = new_network(("a", "b"), (4,), 0), torch.rand(12, 3, 8, 8).split(4)
    maps = [network.stages[0][0][0](1 - some).detach() for some in parts]
    made = renormalised(network, parts)
    found = made.stages[0][0][1]
    assert not made.training
    torch.testing.assert_close(found.running_mean, torch.stack([one.mean((0, 2, 3)) for one in maps]).mean(0))
    torch.testing.assert_close(found.running_var, torch.stack([one.var((0, 2, 3)) for one in maps]).mean(0))


def test_the_published_loss_takes_the_softmax_twice():
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    assert torch.equal(POSE()._scaled(logits), logits / 0.1)
    torch.testing.assert_close(POSE(published_loss=True, temperature=0.5)._scaled(logits), 2 * torch.softmax(logits, 1))


def test_it_tells_planted_sources_apart_and_is_surer_of_them_than_of_a_third():
    size = 6 / 255
    taught = PictureSources.of({name: tiled(k, 48, 8, size=size) for k, name in enumerate("ab")})
    method = POSE(epochs=6, rows=16, widths=(16, 16), learning_rate=3e-3, temperature=1.0)
    learnt = method.learn(taught, {}, Run.none())
    judged = [method.judge(learnt, tiled(k, 60, 8, size=size, seed=1).pixels, {}) for k in range(3)]
    for k in (0, 1):
        assert (judged[k].log_posterior.argmax(1) == k).double().mean() > 0.9
    assert torch.equal(judged[0].knownness, judged[0].log_posterior.amax(1))
    known = torch.cat([judged[0].knownness, judged[1].knownness])
    assert (known[:, None] > judged[2].knownness).double().mean() > 0.6
