"""copyscope: planted descriptors whose components move them towards the target, together, alone, or not at all."""

import numpy as np
import pytest
import torch

from intaglio.audit.components.methods.copyscope import CopyScope
from intaglio.audit.components.methods.switched_off import SwitchedOff
from intaglio.errors import BadInput, IntaglioError
from intaglio.metrics.distributions import kernel_distance, stretched

SMALL = {"pictures": 8, "resamples": 100}
BAD = {"orders": 5}
PIECES = {}
VARIANTS = {
    "orders": {"SMALL": {"exact": 2, "orders": 4}, "BAD": {"exact": 1}, "PIECES": {}},
    "frechet": {"SMALL": {"distance": "frechet"}, "BAD": {"pictures": 7}, "PIECES": {}},
}
TARGET = torch.nn.functional.normalize(
    torch.tensor([2.0, 0, 0, 0, 0, 0]) + 0.6 * torch.randn(40, 6, generator=torch.Generator().manual_seed(1)), dim=1
)


def drawn(shift, count=32):
    """Descriptors that lie the nearer to the target the larger the shift; the k-th by its own seed, whatever it is."""
    noise = 0.6 * torch.randn(count, 6, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.normalize(torch.tensor([shift, 0, 0, 0, 0, 2 - shift]) + noise, dim=1)


def of_shifts(*shifts, joint=0.0):
    return lambda on: drawn(sum(shift for i, shift in enumerate(shifts) if on >> i & 1) + joint * (on & 3 == 3))


def test_values_are_kernel_distances_of_unit_descriptors_stretched():
    found = CopyScope(resamples=100)(("a", "b"), of_shifts(1, 0), TARGET)
    wanted = -kernel_distance(stretched(drawn(1).numpy()), stretched(TARGET.numpy()))
    assert found.values[1] == pytest.approx(wanted)
    assert found.values[1] == found.values[3] > found.values[0] == found.values[2]


def test_the_component_that_does_it_has_the_share_and_the_innocent_one_none():
    found = CopyScope()(("style", "other", "words"), of_shifts(1.5, 0, 0.4), TARGET)
    shares = {one.name: one.share for one in found.components}
    assert shares["style"].low > 0.6
    assert shares["other"] == pytest.approx((0, 0, 0), abs=1e-12)
    assert shares["words"].low > 0
    assert sum(one.value for one in shares.values()) == pytest.approx(1)
    assert sum(one.effect.value for one in found.components) == pytest.approx(found.total.value)
    assert "style has the largest share" in found.statement
    assert "Above 0 beyond the interval: style and words." in found.statement


def test_of_two_that_do_the_same_each_has_half_where_switching_off_sees_nothing():
    twins = lambda on: drawn(1.5 if on & 3 else 0.0)  # noqa: E731
    shapley, off = (method(("a", "twin"), twins, TARGET) for method in (CopyScope(), SwitchedOff()))
    assert [one.share.value for one in shapley.components] == pytest.approx([0.5, 0.5])
    assert [one.share.value for one in off.components] == [0, 0]
    assert off.statement.endswith("no one of them has a share above 0.")


def test_nothing_is_shared_out_where_nothing_comes_nearer():
    alike = CopyScope()(("a", "b"), of_shifts(0, 0), TARGET)
    assert alike.total.value == 0
    assert {one.share for one in alike.components} == {None}
    assert "neither nearer" in alike.statement
    away = CopyScope()(("a", "b"), lambda on: drawn(1.0 if on == 0 else 0.0), TARGET)
    assert {one.share for one in away.components} == {None}
    assert "further from" in away.statement


def test_a_likeness_within_its_interval_is_not_shared_out():
    other = drawn(0.03, 24)[8:16]  # of further seeds, so that nothing cancels
    faint = CopyScope(pictures=8)(("a", "b"), lambda on: other if on & 1 else drawn(0.0, 8), TARGET)
    assert faint.total.low < 0 < faint.total.value
    assert {one.share for one in faint.components} == {None}


def test_intervals_are_of_seeds():
    """Against the spread of the effect over sets of pictures of other seeds."""

    def other(seed, shift):
        noise = 0.6 * torch.randn(32, 6, generator=torch.Generator().manual_seed(seed))
        return torch.nn.functional.normalize(torch.tensor([shift, 0, 0, 0, 0, 2 - shift]) + noise, dim=1)

    wanted = np.std([
        kernel_distance(*(stretched(x.numpy()) for x in (other(seed, 0.0), TARGET)))
        - kernel_distance(*(stretched(x.numpy()) for x in (other(seed, 1.5), TARGET)))
        for seed in range(300)
    ])  # fmt: skip
    found = CopyScope(resamples=2000)(("a", "b"), of_shifts(1.5, 0), TARGET).total
    assert found.low < found.value < found.high
    assert (found.high - found.low) / 3.92 == pytest.approx(wanted, rel=0.35)


def test_above_the_bound_orders_are_drawn_and_their_error_told():
    asked = []
    shifts = of_shifts(0.5, 0.3, 0, 0.1, 0.2)
    found = CopyScope(exact=3, orders=6, resamples=100)(
        tuple("abcde"), lambda on: asked.append(on) or shifts(on), TARGET
    )
    assert len(asked) == len(set(asked)) < 32
    assert found.components[2].effect.value == pytest.approx(0, abs=1e-12)
    assert found.components[2].error == pytest.approx(0, abs=1e-12)
    assert found.components[0].error > 1e-6
    exact = CopyScope(resamples=100)(tuple("abcde"), shifts, TARGET)
    assert all(one.error == 0 for one in exact.components)
    assert len(exact.values) == 32


def test_what_cannot_be_shared_is_refused():
    draws = of_shifts(1, 1)
    with pytest.raises(BadInput, match="among 2 to 16 components, not 1"):
        CopyScope()(("a",), draws, TARGET)
    with pytest.raises(BadInput, match="two components are called a"):
        CopyScope()(("a", "a"), draws, TARGET)
    with pytest.raises(BadInput, match="1 target picture is no distribution"):
        CopyScope()(("a", "b"), draws, TARGET[:1])
    with pytest.raises(IntaglioError, match="not finite"):
        CopyScope()(("a", "b"), lambda on: drawn(1) * float("nan"), TARGET)
