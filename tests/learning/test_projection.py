import pytest
import torch

from intaglio.errors import BadInput
from intaglio.learning.projection import MOST_WHOLE, Sketch

A = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
B = torch.tensor([[2.0, 1.0, -1.0], [1.5, -1.0, 0.0]])
OTHER = torch.tensor([0.7, -0.3])


def products(width: int, draws: int) -> torch.Tensor:
    """<Pa, Pb> of two fixed gradients of two tensors, under sketches of many seeds."""
    a = {"w": A[None], "b": OTHER[None]}
    b = {"w": B[None], "b": -OTHER[None]}
    found = []
    for seed in range(draws):
        sketch = Sketch.of({"w": 6, "b": 2}, width, seed)
        found.append(float((sketch(a) * sketch(b)).sum()))
    return torch.tensor(found, dtype=torch.float64)


def test_inner_products_have_the_mean_and_the_variance_of_a_sparse_sketch():
    found = products(4, 2000)
    a, b = torch.cat([A.flatten(), OTHER]).double(), torch.cat([B.flatten(), -OTHER]).double()
    inner = a @ b
    variance = (a @ a * (b @ b) + inner**2 - 2 * (a**2 * b**2).sum()) / 4
    assert abs(found.mean() - inner) < 4 * (variance / 2000).sqrt()
    assert abs(found.var() / variance - 1) < 0.2


def test_a_row_is_sums_of_signed_entries_that_depend_on_seed_name_and_place_alone():
    sizes = {"w": 6, "b": 2}
    sketch, rows = Sketch.of(sizes, 3, 7), {"w": torch.stack([A, B]), "b": torch.stack([OTHER, OTHER])}
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for name, places in sketch.places.items():
        for j, place in enumerate(places.tolist()):
            expected[:, place % 3] += rows[name].flatten(1)[:, j] * (1 if place < 3 else -1)
    torch.testing.assert_close(sketch(rows), expected)
    turned = Sketch.of({"b": 2, "w": 6}, 3, 7)
    torch.testing.assert_close(turned(rows), expected)
    assert not torch.equal(Sketch.of(sizes, 3, 8).places["w"], sketch.places["w"])
    assert not torch.equal(Sketch.of({"v": 6}, 3, 7).places["v"], sketch.places["w"])


def test_without_a_width_gradients_are_whole_where_they_are_small():
    rows = {"w": A[None], "b": OTHER[None]}
    assert Sketch.of({"w": 6, "b": 2}, 0, 0)(rows)[0].tolist() == torch.cat([A.flatten(), OTHER]).double().tolist()
    Sketch.of({"w": MOST_WHOLE}, 0, 0)
    with pytest.raises(BadInput, match="gradients of 200,001 weights are too many"):
        Sketch.of({"w": MOST_WHOLE, "b": 1}, 0, 0)
