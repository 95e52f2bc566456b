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


def test_a_network_that_was_trained_is_told_beside_what_it_was():
    trained = row("classifier", "tuned-concepts", 0.5, 0.9)
    sides = {name: {"linear_accuracy": 0.6, "accuracy": 0.4 + k / 10, "iis": 0.7 + k / 10} for k, name in
             enumerate(("untouched", "plain", "through"))}  # fmt: skip
    trained["tuned"] = {"learnt": 9, **sides, "iis_over_untouched": [0.2, 0.1, 0.3], "iis_over_plain": None}
    figures = figures_of({"0": trained, "1": row("classifier", "rule-tree", 0.4)}, 1.0)
    assert figures["iis_over_untouched_classifier"] == [0.2, 0.1, 0.3]
    assert figures["iis_over_plain_classifier"] is None
    last = HeadsBench().summary(figures).splitlines()[-1].split()
    assert last == ["kind", "classifier", "through", "0.60", "0.60", "0.90"]


def test_a_row_is_measured_by_subjects():
    images, told = testbed.held_out_pictures()
    some = images[list(range(0, len(images), 4))]
    texts = [told[k].get("kind", "") for k in range(0, len(images), 4)]
    means = TabledFeatures(some.names, some.pixels.mean((2, 3)).double().numpy())
    found = measured(RuleTree(folds=3, strengths=(0.1,)), means, some, "kind", texts)
    assert found["label"] == "kind"
    assert 0 <= found["accuracy"] <= 1
    assert found["size"] <= 4
