"""Figures of the bench of heads, from rows that were planted."""

from intaglio.bench.heads.bench import HeadsBench, figures_of, measured
from intaglio.explain.heads.methods.rule_tree import RuleTree
from intaglio.explain.picture_features import TabledFeatures
from intaglio.models import testbed


def row(network: str, head: str, accuracy: float, iis: float | None = None) -> dict:
    return {
        "label": "kind", "network": network, "head": head, "kind": "rule", "accuracy": accuracy, "size": 3.0,
        "interval": [0.1, 0.9], "difference": -0.1, "difference_interval": [-0.2, 0.0], "iis": iis,
    }  # fmt: skip


def test_rows_are_told_the_furthest_first_and_scores_by_network():
    rows = [row("encoder", "concept-head", 0.3, 0.7), row("encoder", "rule-tree", 0.4), row("random", "rule-tree", 0.2)]
    figures = figures_of({str(k): one for k, one in enumerate(rows)}, 1.0)
    assert (figures["iis_encoder"], figures["rule-tree_random"]) == (0.7, 0.2)
    assert "iis_random" not in figures
    lines = [line.split() for line in HeadsBench().summary(figures).splitlines()]
    assert [line[1:3] for line in lines[1:]] == [
        ["encoder", "rule-tree"], ["encoder", "concept-head"], ["random", "rule-tree"]
    ]  # fmt: skip


def test_a_row_is_measured_by_subjects():
    images, told = testbed.held_out_pictures()
    some = images[list(range(0, len(images), 4))]
    texts = [told[k].get("kind", "") for k in range(0, len(images), 4)]
    means = TabledFeatures(some.names, some.pixels.mean((2, 3)).double().numpy())
    found = measured(RuleTree(folds=3, strengths=(0.1,)), means, some, "kind", texts)
    assert found["label"] == "kind"
    assert 0 <= found["accuracy"] <= 1
    assert found["size"] <= 4
