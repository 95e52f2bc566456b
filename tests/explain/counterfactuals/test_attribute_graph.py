import pytest

from intaglio.errors import BadInput
from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph


def test_causes_come_before_effects_whatever_the_order_of_the_names():
    graph = AttributeGraph.of(("c", "a", "b"), [("a", "b"), ("b", "c"), ("a", "c")])
    assert graph.parents == ((1, 2), (), (1,))
    assert [graph.names[k] for k in graph.order] == ["a", "b", "c"]
    assert sorted(graph.edges) == [("a", "b"), ("a", "c"), ("b", "c")]


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([("a", "x")], "the graph names x, which is no attribute"),
        ([("a", "b"), ("b", "c"), ("c", "a")], "cycle (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c);"),
        ([("a", "a")], "cycle a -> a"),
    ],
)
def test_what_is_no_graph_of_the_attributes_is_refused(edges, words):
    with pytest.raises(BadInput, match=words):
        AttributeGraph.of(("a", "b", "c"), edges)
