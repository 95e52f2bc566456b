from itertools import combinations, permutations

import numpy as np
import pytest
import torch

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.methods.sicl.networks.axial import Axial, AxialShape, NodeEdge
from intaglio.causal.methods.sicl.networks.base import (
    NetworkOutput,
    TrueGraphs,
    collider_loss,
    mark_loss,
    skeleton_loss,
    unshielded,
)
from intaglio.causal.methods.sicl.networks.encoding import Encoded
from intaglio.causal.methods.sicl.networks.light import Light, LightShape
from intaglio.causal.methods.sicl.training.batches import column_kinds, encoded_batch
from intaglio.causal.simulate import simulator
from intaglio.causal.simulate.recipe import Recipe
from intaglio.randomness import numpy_generator

SMALL = AxialShape(width=8, heads=2, blocks=1)
MADE = {
    "light": lambda: Light(LightShape(width=8, heads=2, blocks=1, factors=3, pair_width=12, pair_layers=2, channels=4)),
    "axial": lambda: Axial(SMALL),
    "node-edge": lambda: NodeEdge(SMALL),
}


@pytest.fixture(params=list(MADE))
def network(request):
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(3)
        made = MADE[request.param]()
        for weight in made.parameters():  # so that no head starts at nothing
            torch.nn.init.normal_(weight, std=0.3)
    return made.eval()


@pytest.fixture(scope="module")
def batch():
    return simulator.draw(Recipe(), numpy_generator(0, 0), 6, 6, 40)


def reordered(tables: Encoded, order) -> Encoded:
    return Encoded(
        tables.cells[:, :, order],
        tables.slots[:, :, order],
        tables.kinds[:, order],
        tables.size,
        tables.pairs[:, order][:, :, order],
        tables.triples[:, order][:, :, order][:, :, :, order],
    )


def test_shapes_and_symmetry(network, batch):
    tables, truth = encoded_batch(batch, 12)
    beliefs = network(tables)
    b, d = truth.adjacency.shape[:2]
    assert beliefs.skeleton.shape == (b, d, d)
    assert torch.allclose(beliefs.skeleton, beliefs.skeleton.transpose(1, 2), atol=1e-5)
    triples = unshielded(truth.skeleton)
    swapped = triples[:, [0, 1, 3, 2]]
    assert torch.allclose(beliefs.colliders(triples), beliefs.colliders(swapped), atol=1e-4)
    if beliefs.marks is not None:
        assert torch.allclose(beliefs.marks, beliefs.marks.transpose(1, 2)[..., [1, 0, 2]], atol=1e-5)


def test_columns_in_another_order_are_beliefs_in_another_order(network, batch):
    tables, _ = encoded_batch(batch, 12)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    one, two = network(tables), network(reordered(tables, order))
    assert torch.allclose(two.skeleton, one.skeleton[:, order][:, :, order], atol=1e-4)
    asked = torch.tensor([[0, k, i, j] for k, i, j in permutations(range(6), 3)])
    there = torch.cat([asked[:, :1], order[asked[:, 1:]]], 1)
    assert torch.allclose(two.colliders(asked), one.colliders(there), atol=1e-4)
    if one.marks is not None:
        assert torch.allclose(two.marks, one.marks[:, order][:, :, order], atol=1e-4)


def test_rows_in_another_order_change_nothing(network, batch):
    tables, _ = encoded_batch(batch, 12)
    turned = tables.with_rows(slice(None))
    turned = Encoded(
        tables.cells.flip(1), tables.slots.flip(1), tables.kinds, tables.size, tables.pairs, tables.triples
    )
    assert torch.allclose(network(tables).skeleton, network(turned).skeleton, atol=1e-4)


def test_tables_of_a_batch_do_not_hear_of_each_other(network, batch):
    tables, _ = encoded_batch(batch, 12)
    alone = Encoded(*(getattr(tables, name)[:1] for name in ("cells", "slots", "kinds", "size", "pairs", "triples")))
    assert torch.allclose(network(alone).skeleton[0], network(tables).skeleton[0], atol=1e-4)


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_few_columns(network, columns):
    tables, truth = encoded_batch(simulator.draw(Recipe(), numpy_generator(1, columns), 4, columns, 30), 12)
    losses = network.losses(tables, truth)
    total = torch.stack(list(losses.values())).sum()
    assert bool(total.isfinite())
    total.backward()


def test_every_weight_learns(network, batch):
    tables, truth = encoded_batch(batch, 12)
    torch.stack(list(network.losses(tables, truth).values())).sum().backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    # The softmax of attention does not see what all keys share; levels that no table has are not looked up; and the
    # axial networks of SiCL keep a collider head in the one that learns pairs.
    allowed = ("key.bias", "slot.weight", "kind.weight", "pairs.collider", "pairs.scale", "pairs.bias")
    assert not [name for name in still if not any(word in name for word in allowed)]


def truth_of(*graphs: Graph) -> TrueGraphs:
    return TrueGraphs(
        torch.from_numpy(np.stack([g.directed for g in graphs])),
        torch.from_numpy(np.stack([g.cpdag().directed for g in graphs])),
    )


COLLIDER = Graph.of("DAG", "abc", [("a", "-->", "c"), ("b", "-->", "c")])
CHAIN = Graph.of("DAG", "abc", [("a", "-->", "b"), ("b", "-->", "c")])
FULL = Graph.of("DAG", "abc", [("a", "-->", "b"), ("b", "-->", "c"), ("a", "-->", "c")])


def test_unshielded_triples_by_enumeration():
    rng = np.random.default_rng(0)
    pairs = np.triu(rng.random((3, 6, 6)) < 0.4, 1)
    pairs |= pairs.transpose(0, 2, 1)
    wanted = {
        (t, k, i, j)
        for t in range(3)
        for k in range(6)
        for i, j in combinations(range(6), 2)
        if k not in (i, j) and pairs[t, k, i] and pairs[t, k, j] and not pairs[t, i, j]
    }
    assert set(map(tuple, unshielded(torch.from_numpy(pairs)).tolist())) == wanted


def test_labels_of_triples_are_those_of_the_markov_class():
    truth = truth_of(COLLIDER, CHAIN, FULL)
    asked = torch.tensor([[0, 2, 0, 1], [1, 1, 0, 2], [2, 2, 0, 1]])
    assert truth.collider_labels(asked).tolist() == [1.0, 0.0, 0.0]  # nothing is compelled in a full graph


def test_losses_by_hand():
    truth = truth_of(COLLIDER, CHAIN)
    logits = torch.tensor([[[9.0, 1, 2], [1, 9, -1], [2, -1, 9]], [[9.0, 0, 1], [0, 9, 3], [1, 3, 9]]])
    p = torch.sigmoid(torch.tensor([1.0, 2, -1, 0, 1, 3]))
    label = torch.tensor([0, 1, 1, 1, 0, 1])
    wanted = -(label * p.log() + (1 - label) * (1 - p).log()).mean()
    assert skeleton_loss(logits, truth).item() == pytest.approx(wanted.item(), rel=1e-5)
    beliefs = NetworkOutput(logits, lambda asked: asked[:, 1].float() - 1)  # 1 for centre c, 0 for centre b
    one, other = -np.log(1 / (1 + np.exp(-1))), np.log(2)
    assert collider_loss(beliefs, truth).item() == pytest.approx((one + other) / 2, rel=1e-5)
    marks = torch.zeros(2, 3, 3, 3)
    marks[0, 0, 2, 0] = marks[0, 1, 2, 0] = 2.0  # both arrows into c said
    right = -np.log(np.exp(2) / (np.exp(2) + 2))
    assert mark_loss(marks, truth).item() == pytest.approx((2 * right + 2 * np.log(3)) / 4, rel=1e-5)


def test_triples_of_a_predicted_skeleton_count_a_quarter():
    truth = truth_of(FULL)
    beliefs = NetworkOutput(torch.zeros(1, 3, 3), lambda asked: asked[:, 1].float())
    predicted = torch.tensor([[[0.0, -1, 1], [-1, 0, 1], [1, 1, 0]]])  # a - c - b
    plain = collider_loss(beliefs, truth, predicted)
    assert plain.item() == pytest.approx(0.25 * np.log1p(np.exp(2)), rel=1e-5)  # less than one whole triple: the sum
    both = TrueGraphs(
        torch.stack([truth.adjacency[0], torch.from_numpy(COLLIDER.directed)]),
        torch.stack([truth.compelled[0], torch.from_numpy(COLLIDER.cpdag().directed)]),
    )
    mixed = collider_loss(NetworkOutput(torch.zeros(2, 3, 3), beliefs.colliders), both, predicted.repeat(2, 1, 1))
    wanted = (np.log1p(np.exp(-2)) + 0.25 * np.log1p(np.exp(2))) / 1.25
    assert mixed.item() == pytest.approx(wanted, rel=1e-5)


def test_kinds_say_what_columns_are(batch):
    kinds = column_kinds(batch).numpy()
    assert np.array_equal(kinds == 0, batch.levels == 0)
    assert np.array_equal(kinds == 2, batch.levels == 2)
    assert np.array_equal(kinds == 1, (batch.levels > 2) & batch.ordered)
