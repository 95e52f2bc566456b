import pytest
import torch
from torch.nn.functional import conv2d

import explain_scenes
import tiny
from intaglio.explain.filter_chain import FilterEdge, filter_chain
from intaglio.explain.paths.methods.interventions import EdgeInterventions
from intaglio.models.classifiers import new_classifier
from intaglio.models.scored_network import classifier_score

SMALL = {"screened": 4, "flips": 200}
BAD = {"depth": 0}
PIECES = {"batch": 3}


def test_exactly_the_one_chain_is_found_and_nothing_that_is_only_correlated_with_it():
    scored, images = explain_scenes.chained(), explain_scenes.reds(48)
    maps = scored.features(images.pixels)
    assert float(torch.corrcoef(maps.T).min()) > 0.999  # every filter goes with the class
    found = EdgeInterventions(screened=9, flips=2000)(scored, images, 0)
    assert len(found.edges) == 9 + 9 + 3
    chain = [edge for edge, kept in zip(found.edges, found.kept, strict=True) if kept]
    assert sorted(chain, key=lambda one: one.layer) == [FilterEdge(0, 0, 0), FilterEdge(1, 0, 0), FilterEdge(2, 0, 0)]
    # with the chain alone the network says what it says; with nothing, that of the reference set
    assert found.scores["graph"] == pytest.approx(found.scores["whole"], abs=1e-4)
    assert found.shares == {"whole": 1.0, "graph": 1.0, "random": found.shares["random"], "nothing": 0.0}


def test_an_edge_is_cut_for_its_target_alone_and_before_the_normalisation():
    net = new_classifier({"kind": ("a", "b", "c")}, 3, widths=(2, 3, 2), repeats=(1, 1, 1)).eval()
    for stage in net.stages:
        norm = stage[0][1]
        norm.running_mean += 0.1
        norm.bias.data += 0.2
    scored = classifier_score(net.requires_grad_(False), "kind", side=16)
    pixels = tiny.pixels(6, seed=2)[..., :16, :16]
    reference, picture = pixels[:5], pixels[5:]
    chain = filter_chain(scored, 1, 2, reference, batch=2)
    first, second, third = (stage[0] for stage in net.stages)
    maps, means = first(1 - picture), first(1 - reference).mean(0, keepdim=True)
    whole = scored.score(picture, 1)
    for source in range(2):
        for target in range(3):
            changed = maps.clone()
            changed[:, source] = means[:, source]
            given = conv2d(maps, second[0].weight, stride=2, padding=1)
            given[:, target] = conv2d(changed, second[0].weight, stride=2, padding=1)[:, target]
            logits = net.heads["kind"](third(second[2](second[1](given))).mean((2, 3)))
            expected = whole - scored.scored(logits, 1)
            edge = FilterEdge(0, source, target)
            torch.testing.assert_close(EdgeInterventions().effects(chain, [edge], picture)[:, 0], expected)
    # all edges cut: every layer has what it has on a mean
    feature = net.features(reference).mean(0)
    torch.testing.assert_close(chain.with_only([], picture)[0], net.heads["kind"](feature))
    every = [FilterEdge(layer, i, j) for layer in range(3) for j in range(chain.sizes(layer)[0])
             for i in range(chain.sizes(layer)[1])]  # fmt: skip
    torch.testing.assert_close(chain.with_only(every, picture), scored.logits(picture), rtol=1e-4, atol=1e-5)
