"""The stop rule of an energy budget, on readings of known size."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intaglio.energy.energy_budget import WINDOW, EnergyBudget
from intaglio.errors import IntaglioError
from intaglio.learning.stop_rule import ALL_STEPS, StopRule


class Counter:
    """A meter that the test moves."""

    def __init__(self):
        self.joules = 0.0

    def __call__(self):
        return self.joules


def trained(budget, counter, costs, passes=1, beside=0.0):
    """Steps made of a training whose k-th step takes `costs[k]` in so many passes, with other work after each."""
    made = 0
    for cost in costs:
        if budget.stops():
            break
        for _ in range(passes):
            counter.joules += cost / passes
        made += 1
        budget.after_step(made)
        counter.joules += beside
    return made


def test_a_training_ends_before_it_overspends():
    """Steps of 3 J, 10 J kept: 30 J are enough for 6 steps, as 18 + 10 + 3 would be 31."""
    counter = Counter()
    budget = EnergyBudget(30.0, counter, reserve=10.0)
    assert trained(budget, counter, [3.0] * 100) == 6
    assert (budget.stopped, budget.used) == (True, 18.0)
    assert budget.used + budget.kept_back <= 30.0


def test_a_budget_that_is_just_met_is_not_overspent():
    counter = Counter()
    assert trained(EnergyBudget(30.0, counter, reserve=9.0), counter, [3.0] * 100) == 7


def test_a_large_budget_lets_all_steps_be_made():
    counter = Counter()
    budget = EnergyBudget(1e6, counter)
    assert trained(budget, counter, [3.0] * 100) == 100
    assert not budget.stopped


@given(st.lists(st.floats(1.0, 1.2), min_size=1, max_size=120), st.floats(30, 100), st.floats(0, 20))
def test_steps_of_varying_cost_stay_within_the_budget(costs, joules, reserve):
    """Steps vary by a fifth: one at a time is never more than a fifth beyond what the last ones were."""
    counter = Counter()
    budget = EnergyBudget(joules, counter, step_joules=1.2, reserve=reserve)
    made = trained(budget, counter, costs)
    assert budget.used <= joules - reserve + 0.2
    if made < len(costs):
        assert budget.used + reserve + 1.3 * 1.2 > joules


@pytest.mark.parametrize("passes", [1, 2, 8])
def test_passes_whose_gradients_are_added_are_one_step(passes):
    counter = Counter()
    assert trained(EnergyBudget(30.0, counter, reserve=10.0), counter, [3.0] * 100, passes) == 6


def test_other_work_counts_as_used_but_is_no_part_of_a_step():
    """Steps of 3 J with 2 J of other work each: 15 J after three, and a fourth of 3 J still fits 18 J."""
    counter = Counter()
    budget = EnergyBudget(18.0, counter)
    assert trained(budget, counter, [3.0] * 100, beside=2.0) == 4
    assert budget.next_step == pytest.approx(3.0)


def test_the_reserve_may_be_told_in_steps():
    """Six steps of 3 J, one more, and two kept back: 27 J."""
    counter = Counter()
    assert trained(EnergyBudget(27.0, counter, reserve_steps=2.0), counter, [3.0] * 100) == 7
    assert EnergyBudget(100.0, step_joules=3.0, reserve=1.0, reserve_steps=2.0).kept_back == 7.0


def test_steps_that_vary_are_judged_by_their_mean_and_two_deviations():
    counter = Counter()
    budget = EnergyBudget(1000.0, counter)
    trained(budget, counter, [99.0, 1.0, 3.0, 1.0, 3.0])
    assert budget.next_step == pytest.approx(2.0 + 2 * 1.0)


def test_a_first_step_that_warms_up_ends_no_training():
    """30 J for the first, 1 J for each further one: 100 J with ten steps kept hold 60 more."""
    counter = Counter()
    budget = EnergyBudget(100.0, counter, reserve_steps=10.0)
    assert trained(budget, counter, [30.0, *[1.0] * 200]) == 61
    assert budget.used == 90.0


def test_one_slow_step_does_not_swell_the_reserve():
    counter = Counter()
    budget = EnergyBudget(1000.0, counter, reserve_steps=10.0)
    trained(budget, counter, [1.0, 1.0, 30.0, 1.0])
    assert budget.kept_back == 10.0


def test_without_a_meter_steps_are_counted():
    budget = EnergyBudget(30.0, step_joules=3.0, reserve=10.0, origin="estimated")
    assert trained(budget, Counter(), [99.0] * 100) == 6
    assert budget.used == 18.0
    assert "18 J estimated" in budget.sentence(6, 100)


def test_what_earlier_parts_spent_is_spent():
    counter = Counter()
    budget = EnergyBudget(30.0, counter, reserve=10.0, before=9.0)
    assert trained(budget, counter, [3.0] * 100) == 3
    again = EnergyBudget(30.0, Counter(), reserve=10.0, before=budget.used, step_joules=3.0)
    assert again.stops()


def test_a_budget_that_holds_no_step_is_named():
    counter = Counter()
    counter.joules = 4.0
    with pytest.raises(IntaglioError, match=r"the energy budget of 5 J holds no step: 4 J measured went before .* 2 J"):
        EnergyBudget(5.0, counter, reserve=2.0).stops()


def test_a_training_killed_and_resumed_makes_as_many_steps_as_one_that_was_not():
    """The rows that it left say what was spent, and what a step takes."""
    whole = trained(EnergyBudget(50.0, (counter := Counter()), reserve_steps=2.0), counter, [3.0] * 100)
    rows = []
    first = EnergyBudget(50.0, (counter := Counter()), reserve_steps=2.0, told=lambda *row: rows.append(row))
    trained(first, counter, [3.0] * 5)
    costs = [None, 3.0, 3.0, 3.0, 3.0]
    assert rows == [(k, float(j), c) for k, (j, c) in enumerate(zip(accumulate([3] * 5), costs, strict=True), 1)]
    step, used, _ = rows[-1]
    recent = [cost for *_, cost in rows[1:]]
    rest = EnergyBudget(50.0, (counter := Counter()), before=used, recent=recent, reserve_steps=2.0)
    assert step + trained(rest, counter, [3.0] * 100) == whole == 14


def test_a_resumed_training_knows_what_its_steps_took_before_it_makes_one():
    budget = EnergyBudget(50.0, Counter(), before=40.0, recent=[3.0, 5.0], reserve_steps=1.0)
    assert (budget.kept_back, budget.next_step) == (4.0, 4.0 + 2.0)
    assert not budget.stops()
    assert EnergyBudget(50.0, Counter(), before=41.0, recent=[3.0, 5.0], reserve_steps=1.0).stops()


@pytest.mark.parametrize(("cost", "warned"), [(2.0, 0), (1.61, 0), (1.5, 1), (2.4, 0), (2.6, 1)])
def test_drift_from_the_estimate_is_told_once(cost, warned):
    counter, said = Counter(), []
    budget = EnergyBudget(1e6, counter, step_joules=2.0, warn=said.append)
    assert trained(budget, counter, [cost] * (4 * WINDOW)) == 4 * WINDOW
    assert len(said) == warned
    assert all(f"{cost / 2:.2f} times" in words and f"until step {WINDOW + 1}" in words for words in said)


def test_drift_waits_for_a_whole_window():
    counter, said = Counter(), []
    trained(EnergyBudget(1e6, counter, step_joules=2.0, warn=said.append), counter, [9.0] * WINDOW)
    assert said == []


def test_a_reading_that_fails_is_not_taken_for_nothing():
    def failing():
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        EnergyBudget(1.0, failing).stops()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"joules": 0.0, "step_joules": 1.0}, "an energy budget must be above 0"),
        ({"joules": float("inf"), "step_joules": 1.0}, "an energy budget must be above 0"),
        ({"joules": 1.0}, "needs a meter, or the estimated joules of a step"),
        ({"joules": 1.0, "step_joules": 0.0}, "step_joules must be above 0"),
        ({"joules": 1.0, "step_joules": 1.0, "reserve": -1.0}, "reserve must be finite and at least 0"),
        ({"joules": 1.0, "step_joules": 1.0, "before": float("nan")}, "before must be finite"),
        ({"joules": 1.0, "step_joules": 1.0, "recent": (1.0, -1.0)}, "recent must hold finite joules"),
    ],
)
def test_budgets_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        EnergyBudget(**settings)


def test_it_keeps_the_contract_of_a_stop_rule():
    assert isinstance(EnergyBudget(1.0, step_joules=1.0), StopRule)
    assert isinstance(ALL_STEPS, StopRule)
    ALL_STEPS.after_step(3)
    assert not ALL_STEPS.stops()
