"""Edges cut for good: what the network gives then, how many are cut, and the bias that is moved."""

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

import explain_scenes
import tiny
from intaglio.explain.filter_chain import FilterEdge, filter_chain
from intaglio.explain.repairs.edge_cuts import best_offset, counts_up_to, first_order, without_edges
from intaglio.explain.repairs.methods.cut_edges import CutEdges
from intaglio.explain.repairs.methods.random_edges import RandomEdges
from intaglio.explain.repairs.shortcut_pictures import ShortcutPictures
from intaglio.models.classifiers import new_classifier
from intaglio.models.scored_network import classifier_score
from intaglio.runs.run import Run


@pytest.fixture(scope="module")
def scored():
    net = new_classifier({"kind": ("a", "b", "c")}, 3, widths=(2, 3, 2), repeats=(1, 1, 1)).eval()
    for stage in net.stages:
        stage[0][1].running_mean += 0.1
        stage[0][1].running_var += 0.3
        stage[0][1].bias.data += 0.2
    return classifier_score(net.requires_grad_(False), "kind", side=16)


def test_a_cut_edge_gives_one_number_in_place_of_its_map(scored):
    net, pixels = scored.network, tiny.pixels(6, seed=2)[..., :16, :16]
    weights = torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0, 1.0])
    chain = filter_chain(scored, 1, None, pixels, 4, weights)
    maps = net.stages[0](1 - pixels)
    mean = (weights.view(-1, 1, 1, 1) * maps).sum(0, keepdim=True) / 8
    first, second, third = (stage[0] for stage in net.stages)
    kernel = second[0].weight[2:3, 1:2]
    given = second[0](maps)
    given[:, 2:3] += conv2d(mean[:, 1:2], kernel, stride=2, padding=1).mean() - conv2d(
        maps[:, 1:2], kernel, stride=2, padding=1
    )
    features = third(second[2](second[1](given))).mean((2, 3))
    # the last of the features is cut off the head too
    features[:, 1] = (weights @ net.features(pixels)[:, 1]) / 8
    found = without_edges(scored, chain, [FilterEdge(0, 1, 2), FilterEdge(2, 1, 0)])
    torch.testing.assert_close(found.logits(pixels, "kind"), net.heads["kind"](features))
    assert float(found.stages[1][0][0].weight[2, 1].abs().max()) == 0
    assert first is not found.stages[0][0]


def test_an_effect_is_the_part_of_the_gap_that_goes(scored):
    pixels = tiny.pixels(10, seed=4)[..., :16, :16]
    truth, values = np.array([0, 0, 0, 0, 0, 2, 2, 2, 2, 1]), np.array([0, 1, 1, 1, 0, 0, 0, 1, 0, 1])
    pictures = ShortcutPictures(pixels, truth, values, 3)

    def gap(scores):
        sides = [scores[(truth == k) & (values == v)].mean() for k in (0, 2) for v in (1, 0)]
        return float(sides[0] - sides[1] + sides[2] - sides[3]) / 2

    weights = pictures.contrast()
    assert float((weights * scored.score(pixels, 1)).sum()) == pytest.approx(gap(scored.score(pixels, 1)), abs=1e-5)
    chain = filter_chain(scored, 1, None, pixels, 4, weights.abs())
    rated = dict(CutEdges(screened=2, batch=3).rated(chain, pictures, weights, Run.none(), ""))
    assert rated
    for edge, effect in rated.items():
        expected = gap(scored.score(pixels, 1)) - gap(chain.without(edge, pixels))
        assert effect == pytest.approx(expected, abs=1e-5)
        assert effect > 0
    slopes = first_order(chain, pictures, weights, 3)
    whole = [one.numpy() for one in chain.slopes(pixels)]
    assert float(slopes[1][1, 2]) == pytest.approx(gap(whole[1][:, 1, 2]), abs=1e-5)


def test_the_offset_names_the_worst_cell_best():
    source = np.random.default_rng(1)
    truth, values = source.integers(0, 3, 80), source.integers(0, 2, 80)
    pictures = ShortcutPictures(torch.zeros(80, 3, 1, 1), truth, values, 3)
    assert pictures.counts.min() >= 5
    logits = torch.from_numpy(source.normal(size=(80, 3)) + 2.0 * np.eye(3)[truth]).float()
    logits[:, 1] += 3 * torch.from_numpy(values).float() - 1

    def worst(offset):
        called = (logits + torch.tensor([0, offset, 0])).argmax(1).numpy()
        return min((called == truth)[pictures.cells == cell].mean() for cell in np.unique(pictures.cells))

    found = best_offset(logits, 1, pictures)
    best = max(worst(one) for one in np.linspace(-8, 8, 3201))
    assert worst(found) == pytest.approx(best)
    assert worst(found) > worst(0.0)
    alike = ShortcutPictures(torch.zeros(21, 3, 1, 1), np.repeat([0, 0, 1, 1], [5, 5, 5, 6]), np.tile([0, 1, 0], 7), 2)
    leads = torch.tensor([[1.0, 0]] * 10 + [[0, 1.0]] * 10 + [[9.0, 0]])
    assert best_offset(leads, 0, alike) == 0


def test_counts_grow_by_the_root_of_two_and_end_at_the_most():
    assert counts_up_to(20) == [0, 1, 2, 3, 4, 6, 8, 11, 16, 20]
    assert counts_up_to(1) == [0, 1]
    assert counts_up_to(0) == [0]


def test_cut_edges_give_a_mean_in_which_all_cells_count_alike(monkeypatch):
    scored, chains, real = explain_scenes.marked_chain(), [], RandomEdges.rated
    monkeypatch.setattr(RandomEdges, "rated", lambda self, *given: chains.append(given[:2]) or real(self, *given))
    images, truth, green = explain_scenes.marked_reds()
    both = [k for k in range(len(images)) if truth[k] == green[k] == "yes"]
    some = [k for k in range(len(images)) if k not in both[12:]]
    RandomEdges()(scored, images[some], [truth[k] for k in some], [green[k] for k in some])
    ((chain, choosing),) = chains
    features = scored.features(choosing.pixels)
    cells = [features[torch.from_numpy(choosing.cells == cell)].mean(0) for cell in range(4)]
    torch.testing.assert_close(chain.means[-1], torch.stack(cells).mean(0))
    assert not torch.allclose(chain.means[-1], features.mean(0), rtol=0.05)
