"""Paths to the class, pictures of a class and of others, and stored graphs."""

import pytest
import torch
from torch import nn

import explain_scenes
from intaglio.causal.formats.graph_files import read_graph
from intaglio.errors import BadInput
from intaglio.explain.filter_chain import FilterChain, FilterEdge, filter_chain
from intaglio.explain.paths.family import largest_edges, on_paths, split_pictures
from intaglio.explain.paths.methods.gradient_edges import GradientEdges
from intaglio.explain.paths.methods.interventions import EdgeInterventions
from intaglio.explain.paths.result import ClassGraph
from intaglio.images.image_set import ImageSet
from intaglio.runs.run import Run
from intaglio.runs.tensors import write_state


def test_only_edges_that_pass_all_the_way_to_the_class_are_kept():
    edges = [
        FilterEdge(2, 1, 0), FilterEdge(2, 3, 0), FilterEdge(1, 5, 1), FilterEdge(1, 6, 3), FilterEdge(1, 7, 2),
        FilterEdge(0, 0, 5), FilterEdge(0, 0, 7), FilterEdge(0, 4, 6),
    ]  # fmt: skip
    passed = [True, False, True, True, True, True, True, True]
    assert on_paths(edges, passed, 3) == [True, False, True, False, False, True, False, False]


def test_the_largest_edges_by_size_of_either_sign():
    slopes = torch.tensor([[0.1, -0.9, 0.2], [0.5, 0.0, -0.3]])
    assert largest_edges(1, slopes, 3) == [FilterEdge(1, 1, 0), FilterEdge(1, 0, 1), FilterEdge(1, 2, 1)]


def test_pictures_are_parted_by_what_the_network_calls_them():
    scored, images = explain_scenes.chained(), explain_scenes.reds(8)
    own, others = split_pictures(scored, images, 0)
    assert torch.equal(own, images.pixels[::2])
    assert torch.equal(others, images.pixels[1::2])
    with pytest.raises(BadInput, match="calls 2 of 4 pictures yes; give 4 or more of such"):
        split_pictures(scored, explain_scenes.reds(4), 0)
    with pytest.raises(BadInput, match="calls 0 of 5 pictures something other than yes"):
        split_pictures(scored, ImageSet.from_pixels(explain_scenes.reds(10).pixels[::2]), 0)


def test_a_network_that_is_no_chain_is_refused():
    scored, pixels = explain_scenes.chained(), explain_scenes.reds(8).pixels
    with pytest.raises(BadInput, match="has 3 convolutions; give a --depth below that"):
        filter_chain(scored, 0, 3, pixels, 4)
    scored.network.stages[2][0][0] = nn.Conv2d(3, 3, 3, groups=3)
    with pytest.raises(BadInput, match=r"stages.2.0.0 does not take the filters of stages.1.0.0 one by one"):
        filter_chain(scored, 0, 1, pixels, 4)
    scored = explain_scenes.chained()
    scored.network.stages.append(nn.Conv2d(3, 2, 1))
    scored.network.heads[explain_scenes.HEAD] = nn.Linear(2, 2)
    scored.network.stages.append(nn.Upsample(2))
    assert filter_chain(scored, 0, 1, pixels, 4).sizes(0) == (2, 3)
    scored.network.heads[explain_scenes.HEAD] = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2))
    with pytest.raises(BadInput, match="head does not take one number of each last filter"):
        filter_chain(scored, 0, 1, pixels, 4)


def test_few_pictures_find_nothing_and_say_so(tmp_path):
    with Run.open(tmp_path, "explain", "paths", {}, {}, seed=0, device="cpu", command=[]) as run:
        found = GradientEdges(screened=9)(explain_scenes.chained(), explain_scenes.reds(16), 0, run=run)
        assert run.warnings == (
            "4 tested pictures are few for 21 edges: an edge by itself could not pass; give more pictures of the "
            "class, or fewer --screened",
        )
    assert found.figures()["kept"] == 0
    assert found.statement == "No path to yes was found: of 21 tested edges none on one passes."


def test_stored_and_read_again_with_a_graph_that_causal_verbs_read(tmp_path):
    found = GradientEdges(screened=9, flips=2000)(explain_scenes.chained(), explain_scenes.reds(48), 0)
    found.save(tmp_path)
    again = ClassGraph.load(tmp_path)
    assert again.rows() == found.rows()
    assert again.figures() == found.figures()
    assert again.statement == found.statement
    graph = read_graph(tmp_path / "class_graph.csv")
    assert set(graph.names) == {"stages.0.0.0 0", "stages.1.0.0 0", "stages.2.0.0 0", "yes"}
    tensors, about = found._parts()
    for broken in ({**about, "names": ["a"]}, {**about, "shares": {}}):
        write_state(tmp_path / found.file, tensors, broken)
        with pytest.raises(BadInput, match="is damaged .* delete it, and the same command searches again"):
            ClassGraph.load(tmp_path)
    write_state(tmp_path / found.file, {**tensors, "p": tensors["p"][1:]}, about)
    with pytest.raises(BadInput, match="effects do not fit the edges"):
        ClassGraph.load(tmp_path)


def test_pictures_that_choose_edges_do_not_test_them_and_names_do_not_part_them(monkeypatch):
    scored, images = explain_scenes.chained(), explain_scenes.reds(24)
    chose, tested = [], []
    slopes, effects = FilterChain.slopes, EdgeInterventions.effects

    def choosing(self, pixels):
        chose.append(pixels)
        return slopes(self, pixels)

    def testing(self, chain, edges, pixels):
        tested.append(pixels)
        return effects(self, chain, edges, pixels)

    monkeypatch.setattr(FilterChain, "slopes", choosing)
    monkeypatch.setattr(EdgeInterventions, "effects", testing)
    found = EdgeInterventions(screened=9)(scored, images, 0)
    one, other = ({row.numpy().tobytes() for row in torch.cat(parts)} for parts in (chose, tested))
    assert len(one) == len(other) == 6
    assert not one & other
    again = EdgeInterventions(screened=9)(scored, images[list(range(23, -1, -1))], 0)
    torch.testing.assert_close(again.means, found.means)


def test_a_sum_of_branches_is_no_chain():
    scored, pixels = explain_scenes.chained(), explain_scenes.reds(8).pixels

    class Around(nn.Module):
        def __init__(self, inner: nn.Module):
            super().__init__()
            self.inner, self.past = inner, nn.Sequential(nn.AvgPool2d(2))

        def forward(self, x):
            return self.inner(x) + self.past(x)

    scored.network.stages[1] = Around(scored.network.stages[1])
    with pytest.raises(BadInput, match=r"stages.2.0.0 takes more than stages.1.inner.0.0 gives, such as a sum"):
        filter_chain(scored, 0, 1, pixels, 4)
