"""Budgets of a call as text, pictures held out, and figures with intervals."""

import math
from dataclasses import replace

import pytest
import torch

from intaglio.energy.devices.device import Measurement
from intaglio.energy.pruning.call_budget import CallBudget
from intaglio.energy.pruning.held_out_errors import HeldOutErrors, held_out_places
from intaglio.energy.pruning.measured_calls import MeasuredCalls
from intaglio.energy.step_estimate import StepEstimate
from intaglio.errors import BadInput


def now(unit="J"):
    return StepEstimate(4.0, 0.4, 1.0, unit, "measured")


def test_a_share_is_of_the_present_upper_bound_and_an_amount_is_itself():
    assert CallBudget.parse("50%").limit(now()) == pytest.approx(0.5 * now().interval[1])
    assert CallBudget.parse("12.5 %").limit(now()) == pytest.approx(0.125 * now().interval[1])
    assert CallBudget.parse("0.003 kJ").limit(now()) == pytest.approx(3.0)
    assert CallBudget.parse("2 CPU-s").limit(now("CPU-s")) == 2.0


def test_a_share_holds_for_the_expected_cost_and_for_the_bound():
    half = CallBudget.parse("50%")
    assert half.holds(replace(now(), amount=2.0, sd=0.2), now())
    assert not half.holds(replace(now(), amount=2.01, sd=0.0), now())  # the bound alone would do
    assert not half.holds(replace(now(), amount=1.99, sd=0.3), now())  # the cost alone would do
    assert CallBudget.parse("3 J").holds(replace(now(), amount=2.99, sd=0.0), now())
    assert not CallBudget.parse("3 J").holds(replace(now(), amount=2.9, sd=0.3), now())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("half", "no unit"),
        ("50", "no unit"),
        ("0%", "above 0% and below 100%"),
        ("100%", "above 0% and below 100%"),
        ("-1 J", "above 0"),
        ("0 CPU-s", "above 0"),
        ("3 bananas", "no unit that is known"),
    ],
)
def test_what_is_no_budget_is_told(text, said):
    with pytest.raises(BadInput, match=said):
        CallBudget.parse(text)


@pytest.mark.parametrize(("text", "unit"), [("2 J", "CPU-s"), ("2 CPU-s", "J")])
def test_a_budget_in_another_unit_is_told(text, unit):
    with pytest.raises(BadInput, match=f"profile counts {unit}"):
        CallBudget.parse(text).limit(now(unit))


def test_a_budget_that_is_kept_already_is_told():
    with pytest.raises(BadInput, match="within the budget of 9 J"):
        CallBudget.parse("9 J").limit(now())


def test_a_fifth_is_held_out_by_content_and_no_copy_is_in_both():
    hashes = [f"{place % 10:02d}" for place in range(20)]  # every picture twice
    rest, held = held_out_places(hashes)
    assert sorted(rest + held) == list(range(20))
    assert {hashes[place] for place in held} == {"00", "01"}
    assert not {hashes[place] for place in held} & {hashes[place] for place in rest}
    turned = held_out_places(hashes[::-1])
    assert {hashes[::-1][place] for place in turned[1]} == {"00", "01"}
    assert held_out_places(["b", "a"]) == ([0], [1])
    with pytest.raises(BadInput, match="two different ones"):
        held_out_places(["a", "a"])


def test_the_rise_of_errors_is_paired():
    before = torch.tensor([1.0, 5.0, 9.0])
    figures = HeldOutErrors(before, before + 3, before + torch.tensor([0.5, 1.0, 1.5])).figures()
    assert (figures["before"], figures["pruned"], figures["recovered"], figures["rise"]) == (5.0, 8.0, 6.0, 1.0)
    half = 4.302652729696142 * 0.5 / math.sqrt(3)  # Student's t with 2 degrees of freedom, sd 0.5 of the differences
    assert figures["rise_interval_95"] == pytest.approx([1 - half, 1 + half])
    alone = HeldOutErrors(before[:1], before[:1] + 3).figures()
    assert (alone["recovered"], alone["rise"], alone["rise_interval_95"]) == (None, 3.0, None)


def test_the_ratio_of_measured_calls_has_the_interval_of_both():
    found = MeasuredCalls(Measurement(4.0, 0.16, 1.0, 0.0), Measurement(1.0, 0.0225, 0.5, 0.0), "J", "meter").figures()
    assert found["ratio"] == 0.25
    low, high = found["ratio_interval_95"]
    assert math.log(high / low) == pytest.approx(2 * 1.96 * math.hypot(0.1, 0.15))
    assert math.sqrt(low * high) == pytest.approx(0.25)
